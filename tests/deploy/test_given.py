"""`dqn.train(env=...)`: environments as classes or functions, recorded so that the run can be used again."""

import functools
import multiprocessing
import re
import threading

import envs
import gymnasium
import numpy as np
import pytest
from commands import call
from envs import Counting
from gymnasium import spaces
from helpers import FINISHED

import dqn
from dqn.config import given as config_given
from dqn.config.given import overrides_for
from dqn.env import EnvFactory, Environments, given, id_of
from dqn.env.processes import unsendable
from dqn.errors import WrongValue
from dqn.storage.folder import RunFolder

SHORT = [*FINISHED, "env.max_episode_steps=5"]


class Walk(gymnasium.Env):
    """Observations are the steps so far."""

    observation_space = spaces.Box(0, 100, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, reward: float = 1.0) -> None:
        self.reward = reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(1, self.t, np.float32), self.reward, False, False, {}

    def __call__(self) -> "Walk":
        return Walk()

    class Inner(Counting):
        """A class inside another."""


def make_walk(reward: float = 1.0) -> Walk:
    return Walk(reward)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_given, "_OF_RUNS", {})


IDS = [
    (Counting, "envs:Counting"),
    (Walk.Inner, f"{__name__}:Walk.Inner"),
    (make_walk, f"{__name__}:make_walk"),
    (lambda: Walk(1.0), "python/lambda"),
    (type("Größe", (Walk,), {}), "python/Gre"),
    (functools.partial(Walk, 2.0), "python/partial"),
    (type("Walk", (Walk,), {"__module__": "__main__"}), "python/Walk"),
    (type("Walk", (Walk,), {}), "python/Walk"),  # another class than the one of this name
]


@pytest.mark.parametrize(("env", "id"), IDS, ids=[id for _, id in IDS])
def test_ids(env, id):
    assert id_of(env) == id
    with given(None if ":" in id else env):  # importable ones need nothing else
        factory = EnvFactory(id=id, kwargs={}, **envs.FACTORY)
    made = factory.make_registered()
    assert type(made.unwrapped) is (env if isinstance(env, type) else Walk)
    assert made.spec.id == id
    made.close()


WRONG = [
    ({"env": "CartPole-v1"}, 'function that makes one; the override "env.id=CartPole-v1" chooses'),
    (
        {"env": Walk()},
        "env=<Walk instance>: should be a class of environments, or a function that makes one: ",
    ),
    ({"env": 7}, "env=7: should be a class of environments, or a function that makes one"),
    ({"env": Walk, "overrides": ["env=acrobot"]}, "env=acrobot: should be left out; the argument `env`"),
    ({"env": Walk, "overrides": ["seed=1", "env.id=X-v0"]}, "env.id=X-v0: should be left out"),
]


@pytest.mark.parametrize(("arguments", "text"), WRONG, ids=[text for _, text in WRONG])
def test_wrong_arguments(arguments, text):
    with pytest.raises(dqn.UserError, match=re.escape(text)):
        overrides_for(**{"overrides": []} | arguments)


MAKERS = [
    (lambda: 7, {}, "env.id=python/lambda: cannot be made (TypeError: The environment must inherit"),
    (lambda size: Walk(), {}, "env.id=python/lambda: cannot be made (TypeError: "),
    (lambda: Walk(1.0), {"size": 3}, "env.kwargs={'size': 3}: python/lambda does not take them"),
    (None, {}, "env.id=python/lambda: the run's environment was given in Python"),
]


@pytest.mark.parametrize(("maker", "kwargs", "text"), MAKERS, ids=[text for *_, text in MAKERS])
def test_functions_that_make_none(maker, kwargs, text):
    with given(maker):
        factory = EnvFactory(id="python/lambda", kwargs=kwargs, **envs.FACTORY)
    with pytest.raises(WrongValue, match=re.escape(text)):
        factory.make_registered()


def test_the_same_environment_twice():
    walk = Walk()
    with given(lambda: walk):
        columns = Environments(
            id="python/walk", seeds=[0], role="environment", training=True, **envs.ENV | {"num_envs": 2}
        )
    with pytest.raises(WrongValue, match="should make a new environment in every call: 2 at a time"):
        columns.reset(0)


def test_an_environment_for_other_processes(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "spawn")
    assert unsendable(lambda: Walk(1.0)) is None
    lock = threading.Lock()
    words = ["runner=steps", "env.vectorization=async", "env.max_episode_steps=5"]
    text = r"env\.vectorization=async: should be sync: python/lambda cannot be sent to another process"
    with pytest.raises(dqn.UserError, match=text):
        dqn.train(words, env=lambda: Walk(lock.locked()))


def test_a_class_that_only_this_process_has():
    env = type("Walk", (Walk,), {})
    run = dqn.train([*SHORT, "+env.kwargs.reward=2", "num_seeds=2"], env=env)
    assert (run.config["env"]["id"], run.config["env"]["kwargs"]) == ("python/Walk", {"reward": 2})
    policy = run.load(seed=1)
    assert type(policy.make_env().unwrapped) is env
    assert repr(policy) == "<GreedyPolicy for python/Walk: seed 1, after iteration 2>"
    assert dqn.evaluate(run, episodes=3).returns == {0: [10.0] * 3, 1: [10.0] * 3}
    longer = dqn.resume(run, ["runner.total_episodes=6"])
    assert (longer.folder, longer.result) == (run.folder, 10.0)
    config_given._OF_RUNS.clear()  # as in another process
    for use in (dqn.load, dqn.evaluate, dqn.resume):
        with pytest.raises(dqn.UserError, match=r"given in Python, .* give it again: dqn\.load\(RUN, env="):
            use(run)
    assert "give it again" in call("evaluate", run.folder).text
    assert dqn.load(run, env=env)(np.zeros(1)) in (0, 1)
    assert dqn.evaluate(run, episodes=1, policy="last").mean == 10.0  # it is known again


def test_a_class_that_every_process_can_import():
    run = dqn.train(SHORT, env=Counting)
    assert run.config["env"]["id"] == "envs:Counting"
    config_given._OF_RUNS.clear()
    result = call("evaluate", run.folder, "episodes=1")
    assert (
        "env.id=envs:Counting is refused: imports a package; if envs is your own, add --trust envs"
        in result.text
    )
    assert "mean 15.00" in call("evaluate", run.folder, "episodes=1", "--trust", "envs").text
    assert dqn.load(run.folder, env=Counting).seed == 0
    config_given._OF_RUNS.clear()
    file = RunFolder(run.folder).config_file
    file.write_text(file.read_text().replace("envs:Counting", "envs:Path"))
    with pytest.raises(
        dqn.UserError, match=r"env\.id=envs:Path is refused: imported by envs, not defined in it"
    ):
        dqn.load(run, trust=["envs"])


def test_a_registered_environment_is_not_replaced(finished_run):
    with pytest.raises(dqn.UserError, match=r"env=envs:Counting: should be left out; .* CartPole-v1"):
        dqn.resume(finished_run, env=Counting)
