"""A run that was stopped anywhere and resumed is the run that was not, bit for bit."""

import pickle
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from helpers import config_of
from records import check_records, contents, read_events, read_metrics, same, scalars_of, stored

import dqn.storage.checkpoint
from dqn.agent import Actor, Agent
from dqn.agent.optimizer import Adam
from dqn.config.build import build
from dqn.config.preflight import FREE
from dqn.env import Environments
from dqn.errors import UserError
from dqn.runner import Runner
from dqn.runner.evaluator import Evaluator
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import RunFolder
from dqn.tracking.logger import Logger

COMMON = [
    *("runner.learning_starts=30", "runner.batch_size=8", "runner.updates_per_train=2"),
    *("runner.eval_period=2", "runner.eval_episodes=2", "runner.eval_epsilon=0.1"),
    *("network.torso.hidden_sizes=[8]", "memory.capacity=300", "seed=4", "agent.max_grad_norm=0.01"),
]
STEPS = [
    *("runner=steps", "runner.iteration_length=60", "runner.total_steps=300", "runner.train_period=4"),
    *("runner.target_period=50", "runner.target_tau=0.5", "schedule.duration=250", *COMMON),
]
EPISODES = [
    *("runner=episodes", "runner.iteration_length=4", "runner.total_episodes=20", "runner.target_period=3"),
    *("schedule.start=0.9", "schedule.duration=15", *COMMON),
]
ONE = ["num_seeds=1", "memory.reader.n_step=1"]
MANY = ["num_seeds=3", "memory.reader.n_step=3", "agent=double"]
PRIORITIZED_WINDOWS = ["memory=prioritized", "network/core=gru", "memory/reader=sequences"]
COMPILED = [
    *("agent.compile=true", "num_seeds=2", "runner.batch_size=32", "runner.learning_starts=40"),
    *("network.torso.hidden_sizes=[32]", "agent.max_grad_norm=null"),
]
"""The compiled run of tests/golden.py has the same graph: whichever comes second need not compile it."""

Patch = Callable[[pytest.MonkeyPatch], None]


class Stop(KeyboardInterrupt):
    """Stands for a kill: nothing that the process holds is kept."""


def before(target: Any, name: str, call: int) -> Patch:
    """Return what stops a run as it begins the call of that number."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        original, calls = getattr(target, name), [0]

        def replaced(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            if calls[0] == call:
                raise Stop
            return original(*args, **kwargs)

        monkeypatch.setattr(target, name, replaced)

    return patch


def after(target: Any, name: str, call: int) -> Patch:
    """Return what stops a run as it ends the call of that number."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        original, calls = getattr(target, name), [0]

        def replaced(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            calls[0] += 1
            if calls[0] == call:
                raise Stop
            return result

        monkeypatch.setattr(target, name, replaced)

    return patch


STOPS = {
    "at once": before(Environments, "reset", 1),
    "act": before(Actor, "act", 71),
    "step": after(Environments, "step", 70),
    "update": before(Adam, "step", 12),
    "after an update": after(Agent, "update", 13),
    "target": before(Agent, "sync_target", 3),
    "evaluation": before(Evaluator, "__call__", 1),
    "after the evaluation": after(Evaluator, "__call__", 1),
    "report": after(Logger, "end_iteration", 2),
    "before the learner": before(Checkpoint, "_store", 5),
    "after the learner": after(Checkpoint, "_store", 5),
    "after the policy": after(Checkpoint, "_store", 6),
    "after the memory": after(Checkpoint, "_store", 7),
    "after the rows": after(Checkpoint, "_store", 8),
    "after the best": after(Checkpoint, "_store", 9),
    "before the manifest": before(dqn.storage.checkpoint, "write_json", 2),
    "after the manifest": after(dqn.storage.checkpoint, "write_json", 2),
    "save": after(Checkpoint, "save", 2),
    "last save": after(Checkpoint, "save", 5),
    "final evaluation": before(Runner, "final_evaluation", 1),
}


def make(folder: Path, words: list[str]) -> Runner:
    folder.mkdir(exist_ok=True)
    return build(config_of(words), RunFolder(folder))


def run_and_stop(folder: Path, words: list[str], stop: Patch) -> bool:
    """Run until `stop` and return whether it came to that."""
    runner = make(folder, words)
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop(monkeypatch)
        try:
            runner.run()
        except Stop:
            return True
    return False


def run(folder: Path, words: list[str]) -> Any:
    """Run to the end and return all that is there then."""
    runner = make(folder, words)
    result = runner.run()
    check_records(folder)
    return {
        "contents": contents(runner),
        "stored": stored(folder),
        "metrics": read_metrics(folder),
        "together": scalars_of(read_events(folder)),
        "result": result,
    }


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Return the end of the run of some words that nobody stopped."""

    @cache
    def end(*words: str) -> Any:
        return run(tmp_path_factory.mktemp("straight") / "run", list(words))

    return end


def configurations() -> list[Any]:
    """Return half of all, in which every two values meet; the others are slow."""
    return [
        pytest.param(
            [*clock, f"num_seeds={seeds}", f"env.num_envs={envs}", f"memory.reader.n_step={n_step}"],
            marks=[pytest.mark.slow] * ((i + (seeds > 1) + (n_step > 1)) % 2),
        )
        for i, (clock, envs) in enumerate(((STEPS, 1), (STEPS, 2), (EPISODES, 1)))
        for seeds in (1, 3)
        for n_step in (1, 3)
    ]


@pytest.mark.parametrize("words", configurations(), ids=lambda words: " ".join([words[0], *words[-3:]]))
def test_stopped_again_and_again(tmp_path, straight, words):
    """One run is stopped at every place in turn, each time in a new process as it were."""
    stopped = [name for name, stop in STOPS.items() if run_and_stop(tmp_path, words, stop)]
    assert len(stopped) >= 9
    same(run(tmp_path, words), straight(*words))


@pytest.mark.parametrize("name", STOPS)
@pytest.mark.parametrize("words", [STEPS + MANY, EPISODES + ONE], ids=["steps", "episodes"])
def test_stopped_once(tmp_path, straight, words, name):
    assert run_and_stop(tmp_path, words, STOPS[name])
    same(run(tmp_path, words), straight(*words))


def test_an_iteration_of_as_many_steps_as_a_block_of_random_numbers(tmp_path, straight):
    words = [*STEPS, *ONE, "runner.iteration_length=256", "runner.total_steps=768"]
    assert run_and_stop(tmp_path, words, after(Checkpoint, "save", 1))
    same(run(tmp_path, words), straight(*words))


def test_masks(tmp_path, straight):
    words = [*STEPS, *MANY, "env.id=Masked-v0", "env.module=envs", "env.action_mask=info"]
    assert run_and_stop(tmp_path / "run", words, after(Checkpoint, "save", 2))
    same(run(tmp_path / "run", words), straight(*words))


def test_recurrent_networks(tmp_path, straight):
    """No carry of acting is in a checkpoint; the memory, with the stored ones, has wrapped around."""
    words = [
        *(*STEPS, *MANY, *PRIORITIZED_WINDOWS, "num_seeds=2", "env.num_envs=2", "memory.capacity=150"),
        *("network.core.units=5", "network.sees_action=true", "memory.reader.length=6"),
        *("memory.reader.period=3", "memory.reader.burn_in=4"),
    ]
    for name in ("act", "after an update", "save"):
        assert run_and_stop(tmp_path / "run", words, STOPS[name])
    same(run(tmp_path / "run", words), straight(*words))


@pytest.mark.process
def test_compiled_updates(tmp_path, straight):
    words = [*STEPS, *MANY, *COMPILED]
    assert run_and_stop(tmp_path / "run", words, after(Checkpoint, "save", 2))
    same(run(tmp_path / "run", words), straight(*words))


@pytest.mark.parametrize("other", ["agent/optimizer=rmsprop", "agent.precision=bfloat16"])
def test_other_arithmetic(tmp_path, straight, other):
    words = [*STEPS, *MANY, other]
    assert run_and_stop(tmp_path, words, STOPS["act"])
    same(run(tmp_path, words), straight(*words))


def test_stacked_frames(tmp_path, straight):
    """No stack is in a checkpoint; the memory has wrapped around."""
    words = [*STEPS, *ONE, "env.num_envs=2", "env.frame_stack=3", "memory.capacity=100"]
    for name in ("act", "before the manifest"):
        assert run_and_stop(tmp_path, words, STOPS[name])
    same(run(tmp_path, words), straight(*words))


@pytest.mark.parametrize("words", [STEPS + MANY, EPISODES + ONE], ids=["steps", "episodes"])
@pytest.mark.parametrize("max_weight", ["batch", "buffer"])
def test_prioritized_replay(tmp_path, straight, words, max_weight):
    words = [*words, "memory=prioritized", f"memory.sampler.max_weight={max_weight}"]
    for name in ("step", "update", "save"):
        assert run_and_stop(tmp_path, words, STOPS[name])
    same(run(tmp_path, words), straight(*words))


@pytest.mark.parametrize("period", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("words", "shorter"),
    [(STEPS + MANY, "runner.total_steps=180"), (EPISODES + ONE, "runner.total_episodes=12")],
    ids=["steps", "episodes"],
)
def test_a_larger_total_given_later(tmp_path, straight, words, shorter, period):
    """The shorter run ends with an evaluation, of which the longer one knows nothing."""
    words = [*words, f"runner.eval_period={period}"]
    short = run(tmp_path, [*words, shorter])
    assert short["contents"]["evaluation"] is not None
    same(run(tmp_path, words), straight(*words))


@pytest.mark.parametrize("words", [STEPS + MANY, EPISODES + ONE], ids=["steps", "episodes"])
def test_evaluation_does_not_touch_training(tmp_path, words):
    ends = []
    for name, setting in (("on", "runner.eval_period=1"), ("off", "runner.eval_episodes=0")):
        end = run(tmp_path / name, [*words, setting])
        assert (end["contents"].pop("evaluation") is None) == (name == "off")
        assert bool(end["contents"].pop("best")["policy"]) == (name == "on")
        metrics = read_metrics(tmp_path / name, without=("time/", "eval/"))
        ends.append((end["contents"], metrics))
    same(*ends)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_environments_in_processes(tmp_path, straight):
    words = [*STEPS, *MANY, "num_seeds=1", "env.num_envs=2", "runner.eval_episodes=0"]
    parallel = [*words, "env.vectorization=async"]
    assert run_and_stop(tmp_path, parallel, STOPS["step"])
    same(run(tmp_path, parallel), straight(*words))


class Unpicklable(gymnasium.Env):
    """Remembers across episodes what no checkpoint could hold: a lock and a generator at work."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.steps = iter(step for step in range(10**9))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.np_random.random(2, np.float32), {}

    def step(self, action: int) -> Any:
        with self.lock:
            step = next(self.steps)
        obs = np.array([np.sin(step), self.np_random.random()], np.float32)
        return obs, float(np.cos(step) + action), self.np_random.random() < 0.1, step % 11 == 10, {}


@pytest.fixture
def _unpicklable():
    gymnasium.register("Unpicklable-v0", Unpicklable)
    yield
    del gymnasium.registry["Unpicklable-v0"]


@pytest.mark.usefixtures("_unpicklable")
@pytest.mark.parametrize("words", [STEPS + MANY, EPISODES + ONE], ids=["steps", "episodes"])
def test_an_environment_that_cannot_be_pickled(tmp_path, straight, words):
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(Unpicklable())
    words = [*words, "env.id=Unpicklable-v0", "env.time_limit_is_terminal=false", "agent.gamma=0.9"]
    for name in ("step", "update"):
        assert run_and_stop(tmp_path, words, STOPS[name])
    same(run(tmp_path, words), straight(*words))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run(tmp_path, [*STEPS, *ONE, "runner.total_steps=60"])
    lines = read_metrics(tmp_path)
    with pytest.raises(UserError, match=f"{tmp_path}.*not of this run"):
        run(tmp_path, [*STEPS, *ONE, "network.torso.hidden_sizes=[9]"])
    with pytest.raises(UserError, match=f"{tmp_path}.*not of this run"):
        run(tmp_path, [*STEPS, *MANY])
    assert read_metrics(tmp_path) == lines


def test_metrics_that_were_cut_by_someone_else_are_refused(tmp_path):
    run(tmp_path, [*STEPS, *ONE, "runner.total_steps=60"])
    path = tmp_path / "seed=4" / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=f"{path}: damaged"):
        run(tmp_path, [*STEPS, *ONE])


@pytest.mark.parametrize("words", [STEPS + MANY, EPISODES + ONE], ids=["steps", "episodes"])
def test_keys_that_may_change_do_not_touch_training(tmp_path, words):
    more = ["runner.eval_period=1", "runner.eval_episodes=3", "runner.eval_epsilon=0"]
    changes = {2: [], 3: [*more, "runner.histogram_period=1"], 0: ["runner.eval_episodes=0"]}
    assert all(FREE.fullmatch(one.partition("=")[0]) for change in changes.values() for one in change)
    ends = []
    for episodes, change in changes.items():
        folder = tmp_path / str(episodes)
        assert run_and_stop(folder, words, after(Checkpoint, "save", 2))
        end = run(folder, [*words, *change])["contents"]
        evaluation, _ = end.pop("evaluation"), end.pop("best")
        assert {len(returns) for returns in (evaluation or {"": ""}).values()} == {episodes}
        ends.append((end, read_metrics(folder, without=("time/", "eval/"))))
    same(ends[0], ends[1])
    same(ends[0], ends[2])
