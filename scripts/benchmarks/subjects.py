"""Our parts as a run has them, and how calls of them are timed within this process."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.works import LIGHT, Work
from dqn.config.build import build
from dqn.config.compose import compose
from dqn.config.preflight import preflight, resolved
from dqn.memory import ReplayMemory
from dqn.runner import Runner
from dqn.storage.folder import RunFolder
from dqn.types import Array, Row

Call = Callable[[], object]

SECONDS = 0.2
"""CPU seconds of one measurement, at least."""


@contextmanager
def built(words: Sequence[str]) -> Iterator[Runner]:
    """Give the runner of a configuration, in a folder that does not stay.

    Raises:
        UserError: the words do not compose, or what they configure is not as it should be.
    """
    config = resolved(compose(words).config)
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        preflight(config, folder, list(words))
        runner = build(config, folder)
        try:
            yield runner
        finally:
            runner.close()


@contextmanager
def trained(work: Work, words: Sequence[str], num_seeds: int = 1) -> Iterator[Runner]:
    """Give the runner of a work after its first iteration: every part has worked, and the memory has rows."""
    with built([*work.words(), f"num_seeds={num_seeds}", *words]) as runner:
        runner.restore()
        runner.train()
        yield runner


def filled(rows: int, words: Sequence[str]) -> ReplayMemory:
    """Return the memory of one seed, full of one long episode of CartPole."""
    with built([*LIGHT.words(), f"memory.capacity={rows}", *words]) as runner:
        memory = runner.memory
    obs = np.random.default_rng(0).standard_normal((rows + 1, 1, 1, 4), np.float32)
    for row in rows_of(obs):
        memory.push(row)
    return memory


def rows_of(obs: Array) -> Iterator[Row]:
    """Give the steps of an episode that goes on, with these observations [T + 1, 1, 1, 4]."""
    action, reward = np.zeros((1, 1), np.int64), np.ones((1, 1), np.float32)
    no, yes = np.zeros((1, 1), np.bool_), np.ones((1, 1), np.bool_)
    for before, after in itertools.pairwise(obs):
        yield Row(before, action, reward, after, no, no, yes)


def paired(calls: Sequence[Call], repeats: int, seconds: float = SECONDS) -> list[list[float]]:
    """Return the CPU microseconds of each call, measured in turn `repeats` times."""
    counts = [enough(call, seconds) for call in calls]
    rounds = [[cost(call, n) for call, n in zip(calls, counts, strict=True)] for _ in range(repeats)]
    return [list(costs) for costs in zip(*rounds, strict=True)]


def cost(call: Call, count: int) -> float:
    """Return the CPU microseconds of a call, the mean of `count`."""
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count * 1e6


def enough(call: Call, seconds: float) -> int:
    """Return how many calls last at least so long, a power of two; they also warm it up."""
    count = 1
    while cost(call, count) * count < seconds * 1e6:
        count *= 2
    return count
