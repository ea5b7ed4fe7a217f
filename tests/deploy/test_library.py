"""`import dqn`: the environment's own observations and actions, no global state."""

import logging
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from envs import Spaces
from helpers import FINISHED
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase

import dqn
from dqn.agent import Policy
from dqn.config.api import Run
from dqn.config.build import build_policy
from dqn.config.evaluate import Evaluation
from dqn.config.paths import CONF
from dqn.config.wrappers import env_factory
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.process import flushes_denormals
from dqn.storage.checkpoint import Checkpoint

SPACES = [name for name in Spaces.SPACES if name not in ("text", "told", "sequence")]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.process
def test_import_is_quick():
    code = "import sys, dqn; dqn.load, dqn.train; sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names():
    functions = {"evaluate", "load", "resume", "train"}
    assert set(dqn.__all__) == {"Evaluation", "GreedyPolicy", "Run", "UserError", *functions}
    assert {*dqn.__all__, "__version__"} == set(dir(dqn))
    assert dqn.Run is Run
    assert dqn.Evaluation is Evaluation
    assert dqn.GreedyPolicy is GreedyPolicy
    with pytest.raises(AttributeError, match="module 'dqn' has no attribute 'nosuch'"):
        dqn.nosuch  # noqa: B018


def stored(config, folder: Path) -> Policy:
    """Return the policy of all seeds, as the evaluation has it."""
    seeds = range(config["seed"], config["seed"] + config["num_seeds"])
    policy = build_policy(config, spec=env_factory(config["env"]).spec, seeds=seeds)
    policy.load_state_dict(Checkpoint(folder).load("policy"))
    return policy


@pytest.mark.parametrize("name", SPACES)
def test_own_observations_and_actions(name):
    """Values are those of what training would have read; actions are the environment's own."""
    words = ["env.module=envs", "env.id=Spaces-v0", f"+env.kwargs.name={name}", "+env.kwargs.start=-4"]
    run = dqn.train([*FINISHED, *words, "num_seeds=2", "seed=5"])
    kwargs = {"name": name, "start": -4}
    own = gymnasium.make("Spaces-v0", disable_env_checker=True, **kwargs)
    trained = env_factory(run.config["env"]).make(training=True)
    whole = stored(run.config, run.folder)
    policies = [dqn.load(run.folder, trust=["envs"]), dqn.load(run.folder, seed=6, trust="envs"), run.load(6)]
    assert [policy.seed for policy in policies] == [5, 6, 6]
    for k, policy in ((0, policies[0]), (1, policies[1]), (1, policies[2])):
        seen = [own.reset(seed=i)[0] for i in range(5)]
        read = np.stack([trained.reset(seed=i)[0] for i in range(5)])
        expected = whole.q_values(np.stack([read, read]).astype(policy.obs.dtype))[k]
        for one, values in zip(seen, expected, strict=True):
            np.testing.assert_allclose(policy.q_values(one), values, rtol=1e-5, atol=1e-6)
            assert type(policy(one)) is int
            assert policy(one) == values.argmax() - 4
            own.step(policy(one))  # asserts that it is an action
        batch = seen if isinstance(seen[0], dict | tuple) else np.stack(seen)
        np.testing.assert_allclose(policy.q_values(batch), expected, rtol=1e-5, atol=1e-6)
        assert policy(batch).tolist() == (expected.argmax(-1) - 4).tolist()


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("dict", {"a": np.array([0, 2]), "b": np.array([[0, 1], [0.5, 0]])}),
        ("tuple", (np.array([[0, 1], [1, 1]]), {"c": np.array([[0, 1], [1, 0]])})),
    ],
)
def test_batches_of_composite_observations(name, batch):
    """As Gymnasium's vector environments give them."""
    words = ["env.module=envs", "env.id=Spaces-v0", f"+env.kwargs.name={name}"]
    policy = dqn.train([*FINISHED, *words]).load()
    if name == "dict":
        singles = [{"a": 0, "b": [0, 1]}, {"a": 2, "b": [0.5, 0]}]
    else:
        singles = [([0, 1], {"c": [0, 1]}), ([1, 1], {"c": [1, 0]})]
    np.testing.assert_array_equal(policy.q_values(batch), policy.q_values(singles))
    assert not np.array_equal(policy.q_values(singles[0]), policy.q_values(singles[1]))


WRONG = [
    ("box", np.zeros((3, 2)), "should have the shape (2, 3), or [B, 2, 3] for a batch, not (3, 2)"),
    ("box", [[1, 2], [3]], "should be numbers of the shape (2, 3)"),
    ("box", "left", "should be numbers"),
    ("box", np.full((5, 2, 3), np.nan), "should be finite numbers"),
    ("bytes", np.full((4, 4, 1), 256), "whole numbers in Box(0, 255"),
    ("bytes", np.full((4, 4, 1), 0.5), "whole numbers"),
    ("discrete", 2, "should be whole numbers in Discrete(5, start=3), not 2"),
    ("discrete", 8, "Discrete(5, start=3)"),
    ("discrete", 3.0, "whole numbers"),
    ("binary", [0, 1, 2, 0], "MultiBinary(4)"),
    ("binary", [0, 1, 0.5, 0], "whole numbers in MultiBinary(4)"),
    ("multi", [3, 0], "MultiDiscrete"),
    ("dict", {"a": 0}, "should be a dict of ['a', 'b'], not ['a']"),
    ("dict", [0, 1], "obs[0]: should be a dict"),
    ("dict", {"a": 0, "b": [0, np.inf]}, "obs['b']: should be finite numbers"),
    ("dict", {"a": 0, "b": [0, 0, 0]}, "obs['b']: should have the shape (2,)"),
    ("dict", {"a": [0, 1], "b": [[0, 0]]}, "batches of one size"),
    ("dict", {"a": [0, 1], "b": [0, 0]}, "batches of one size"),
    ("dict", [{"a": [0, 1], "b": [[0, 0]] * 2}], "obs[0] is a batch"),
    ("tuple", ([0, 1],), "should be a tuple of 2, not tuple of 1"),
    ("tuple", 5, "should be a tuple of 2, not int"),
]


@pytest.mark.parametrize("name", sorted({name for name, *_ in WRONG}))
def test_wrong_observations(name):
    words = ["env.module=envs", "env.id=Spaces-v0", f"+env.kwargs.name={name}"]
    policy = dqn.train([*FINISHED, *words]).load()
    for space, obs, right in WRONG:
        if space == name:
            with pytest.raises(ValueError, match=re.escape(right)):
                policy(obs)
    if name == "binary":  # Gymnasium's spaces of this kind allow floats
        assert policy([0.0, 1.0, 1.0, 0.0]) == policy([0, 1, 1, 0])


class Rude(gymnasium.Env):
    """Changes torch's threads, and fails to close."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        torch.set_num_threads(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return np.ones(3, np.float32), 1.0, True, False, {}

    def close(self):
        raise OSError("the simulator is gone")


def test_an_environment_changes_no_setting_and_may_fail_to_close(caplog):
    gymnasium.register("Rude-v0", Rude)
    threads = torch.get_num_threads()
    run = dqn.train([*FINISHED, "env.id=Rude-v0"])
    caplog.clear()
    assert run.load()(np.zeros(3)) in (0, 1)
    assert "env.id=Rude-v0 could not be closed (OSError: the simulator is gone)" in caplog.text
    assert torch.get_num_threads() == threads != 3
    del gymnasium.registry["Rude-v0"]


def test_a_pickled_policy_plays_as_before():
    words = ["env.module=envs", "env.id=Spaces-v0", "+env.kwargs.name=dict", "network/layer=noisy"]
    policy = dqn.train([*FINISHED, *words, "num_seeds=2", "seed=5"]).load(6)
    again = pickle.loads(pickle.dumps(policy))
    space = gymnasium.make("Spaces-v0", disable_env_checker=True, name="dict").observation_space
    seen = [space.sample() for _ in range(50)]
    for obs in seen:
        assert again(obs) == policy(obs)
        np.testing.assert_array_equal(again.q_values(obs), policy.q_values(obs))
    assert (again.seed, again.iteration, again.selected) == (6, policy.iteration, None)
    assert len(pickle.dumps(policy)) < 10_000


@pytest.mark.process
def test_policies_in_a_process_pool(finished_run):
    """A process makes its own environment and forward pass."""
    policy = dqn.load(finished_run)
    batches = list(np.random.default_rng(0).normal(size=(3, 20, 4)).astype(np.float32))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(policy, batches))
    assert [one.tolist() for one in found] == [policy(batch).tolist() for batch in batches]


def test_wrong_runs(finished_run, tmp_path):
    for seed in (1, -1, "0"):
        with pytest.raises(dqn.UserError, match=f"seed={seed!r}: the run has the seed 0"):
            dqn.load(finished_run, seed=seed)
    with pytest.raises(dqn.UserError, match="not a run folder"):
        dqn.load(tmp_path / "nowhere")
    config = finished_run / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("num_seeds: 1", "num_seeds: 2"))
    with pytest.raises(dqn.UserError, match="the part 'policy' of the checkpoint is not of this run"):
        dqn.load(finished_run, seed=1)
    config.write_text(config.read_text().replace("dqn.agent.Greedy", "parts.OwnBackup"))
    with pytest.raises(dqn.UserError, match="--trust parts"):
        dqn.load(finished_run)
    with pytest.raises(dqn.UserError, match=r"agent.lr=\[: should(.|\n)*agent=nosuch: should"):
        dqn.train(["agent.lr=[", "agent.lr=-1", "agent=nosuch"])
    with pytest.raises(dqn.UserError, match=r"agent.lr=-1: should be greater than 0"):
        dqn.train(["agent.lr=-1"])
    assert not (tmp_path / "outputs").exists()


def globals_of_the_process() -> list[object]:
    state = [os.getcwd(), dict(os.environ), logging.root.level, list(logging.root.handlers)]
    state += [torch.get_num_threads(), flushes_denormals()]
    return [*state, GlobalHydra.instance().hydra, VersionBase.instance().version_base]


def test_inside_a_hydra_application():
    with initialize_config_dir(str(CONF), version_base="1.2"):
        before = globals_of_the_process()
        runs = [dqn.train([*FINISHED, "num_threads=2"]) for _ in range(2)]
        assert globals_of_the_process() == before
    assert runs[0].folder != runs[1].folder
    assert runs[0].result == runs[1].result
    with pytest.raises(dqn.UserError):
        dqn.train(["nosuch=1"])
    assert GlobalHydra.instance().hydra is None


def test_in_threads():
    """Runs side by side are what they are alone."""
    runs = {}

    def train(key: int) -> None:
        runs[key] = dqn.train(
            [*FINISHED, f"seed={key % 2}", "runner.learning_starts=8", "runner.batch_size=4"]
        )

    threads = [threading.Thread(target=train, args=(key,)) for key in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    train(2)
    train(3)
    for key in range(2):
        one, other = (Checkpoint(runs[i].folder).load("policy") for i in (key, key + 2))
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_same_folder_goes_on(finished_run):
    run = dqn.train([*FINISHED, "runner.total_episodes=6", f"hydra.run.dir={finished_run}"])
    assert run.folder == finished_run
    assert Checkpoint(finished_run).iteration() == 3
