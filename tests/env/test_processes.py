"""Environments in processes: equal to those in this process, and none outlives the one that started it."""

import multiprocessing
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import make_environments
from gymnasium import spaces
from processes import assert_ended, wait_until

import dqn.env.processes
from dqn.config.resources import WORKER_FILES
from dqn.env import Environments
from dqn.errors import EnvFailed

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


class Strict(gymnasium.Env):
    """Takes actions of one type, counted from 3, and gives infos of which no two are alike."""

    observation_space = spaces.Dict({"a": spaces.Discrete(4, start=2), "b": spaces.Box(0, 1, (2,))})
    action_space = spaces.Discrete(2, start=3)

    def __init__(self) -> None:
        child = multiprocessing.Process(target=int)  # which daemons may not start
        child.start()
        child.join()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.obs(), self.info()

    def step(self, action: Any) -> Any:
        assert type(action) is int, type(action)
        assert action in (3, 4)
        self.t += 1
        ended = bool(self.np_random.random() < 0.2)
        return self.obs(), np.float32(action), ended and action == 3, ended and action == 4, self.info()

    def obs(self) -> Any:
        return {"a": self.np_random.integers(2, 6), "b": self.np_random.random(2)}

    def info(self) -> dict[str, Any]:
        kinds: list[Any] = [np.arange(self.t), "text", None, threading.Lock(), lambda: self]
        return {"mixed": kinds[int(self.np_random.integers(5))], f"only {self.t}": {}}


def test_async_equals_sync():
    plays = []
    for vectorization in ("sync", "async"):
        env = make_environments("Strict-v0", vectorization=vectorization, time_limit_is_terminal=False)
        plays.append([env.reset(1)])
        paused = np.zeros((3, 2), bool)
        for t in range(30):
            step = env.step(np.full((3, 2), t % 2))
            plays[-1] += [array for array in step if array is not None]
            paused |= step.ended
            if t % 4:
                env.pause(step.ended)
            elif paused.any():
                plays[-1].append(env.restart(paused))
                paused[:] = False
        env.close()
    assert len(plays[0]) > 180
    for ours, theirs in zip(*plays, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_open_files():
    opened = []
    for num_envs in (1, 3):
        env = make_environments("Strict-v0", num_envs=num_envs, seeds=[0], vectorization="async")
        env.reset(1)
        opened.append(len(os.listdir("/proc/self/fd")))
        env.close()
    assert opened[1] - opened[0] == 2 * WORKER_FILES


class Ending(gymnasium.Env):
    """Starts a process, as simulators do, and notes its id and its own; does something in one of its calls.

    Only in processes: one that is inspected does nothing.
    """

    observation_space = spaces.Box(0, 1, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, folder: str, where: str, does: str) -> None:
        self.folder, self.where, self.does = Path(folder), where, does
        self.child = subprocess.Popen(["sleep", "1000"])
        if multiprocessing.parent_process():
            for pid in (os.getpid(), self.child.pid):
                (self.folder / str(pid)).touch()
        self.visit("make")

    def visit(self, where: str) -> None:
        if where == self.where and multiprocessing.parent_process():
            (self.folder / f"{os.getpid()} {self.does}").touch()
            DOES[self.does](self)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.visit("reset")
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> Any:
        self.visit("step")
        return np.zeros(2, np.float32), 0.0, False, False, {}

    def close(self) -> None:
        self.visit("close")
        self.child.kill()
        self.child.wait()


def hang(_: Ending) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        signal.pause()


def refuse(_: Ending) -> None:
    raise OSError(2, "No such file", "prices.csv")


def refuse_and_hang(env: Ending) -> None:
    env.where, env.does = "close", "hangs"
    refuse(env)


DOES = {
    "hangs": hang,
    "raises": refuse,
    "raises and hangs": refuse_and_hang,
    "exits": lambda _: os._exit(3),
    "is killed": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "works": lambda _: None,
}
gymnasium.register("Strict-v0", Strict)
gymnasium.register("Ending-v0", Ending)


@pytest.fixture
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(dqn.env.processes, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(dqn.env.processes, "LOOK_SECONDS", 0.05)


def make_two(folder: Path, where: str, does: str) -> Environments:
    kwargs = {"folder": str(folder), "where": where, "does": does}
    return make_environments("Ending-v0", kwargs=kwargs, num_envs=2, seeds=[0], vectorization="async")


def play(folder: Path, where: str, does: str) -> None:
    """Reset and step two environments, which are closed regardless of how that ends."""
    env = make_two(folder, where, does)
    try:
        env.reset(0)
        env.step(np.zeros((1, 2), int))
    finally:
        env.close()


def assert_none_is_left(folder: Path) -> None:
    assert_ended([int(path.name) for path in folder.iterdir() if path.name.isdigit()])


REASONS = {"exits": "process ended with exit code 3", "is killed": "process killed by SIGKILL"}


@pytest.mark.parametrize("where", ["make", "reset", "step", "close"])
@pytest.mark.parametrize("does", ["raises", *REASONS])
def test_processes_that_end(tmp_path, where, does, caplog):
    if where == "close":
        play(tmp_path, where, does)
    else:
        text = REASONS.get(does, "FileNotFoundError: .*prices.csv")
        with pytest.raises(Exception, match=rf"^env\.id=Ending-v0.*{text}") as error:
            play(tmp_path, where, does)
        assert isinstance(error.value, EnvFailed) or (where, does) == ("make", "raises")
    assert_none_is_left(tmp_path)
    assert "did not close" not in caplog.text


@pytest.fixture
def interrupt(tmp_path) -> Iterator[threading.Thread]:
    """Return a thread that raises KeyboardInterrupt in the main one once two environments hang."""

    def handle(*_: Any) -> None:
        raise KeyboardInterrupt

    def run() -> None:
        wait_until(lambda: len([*tmp_path.glob("* hangs")]) == 2)
        os.kill(os.getpid(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, handle)
    yield threading.Thread(target=run)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("where", ["make", "reset", "step"])
def test_ctrl_c_while_processes_hang(tmp_path, where, interrupt, caplog):
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path, where, "hangs")
    interrupt.join()
    assert_none_is_left(tmp_path)
    assert "env.id=Ending-v0: 2 of 2 processes did not close in time and were killed" in caplog.text


@pytest.mark.usefixtures("_quick")
def test_processes_that_hang_when_closed(tmp_path, caplog):
    play(tmp_path, "close", "hangs")
    assert_none_is_left(tmp_path)
    assert "2 of 2 processes did not close in time and were killed" in caplog.text


@pytest.mark.usefixtures("_quick")
def test_an_error_does_not_wait_for_the_end(tmp_path):
    with pytest.raises(EnvFailed, match=r"in step 1 .*prices\.csv"):
        play(tmp_path, "step", "raises and hangs")
    assert_none_is_left(tmp_path)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("does", ["hangs", "works"])
def test_processes_whose_parent_is_killed(tmp_path, does):
    if (pid := os.fork()) == 0:
        try:
            make_two(tmp_path, "make", does).reset(0)
            signal.pause()
        finally:
            os._exit(1)
    wait_until(lambda: len([*tmp_path.glob(f"* {does}")]) == 2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert_none_is_left(tmp_path)
