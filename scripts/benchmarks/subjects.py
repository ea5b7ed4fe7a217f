"""Our parts as in a run, and timing of calls within this process."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from benchmarks.works import LIGHT, Work
from dqn.agent import Agent
from dqn.config.build import build
from dqn.config.compose import compose
from dqn.config.parts import make
from dqn.config.preflight import preflight, resolved
from dqn.memory import ReplayMemory
from dqn.runner import Runner
from dqn.storage.folder import RunFolder
from dqn.types import Array, EnvSpec, Row

Call = Callable[[], object]
Clock = Callable[[], float]

SECONDS = 0.2
"""Minimum CPU seconds of one measurement."""


@contextmanager
def built(overrides: Sequence[str]) -> Iterator[Runner]:
    """Provide the runner of a configuration, in a temporary folder.

    Raises:
        UserError: the overrides do not compose, or the configuration is invalid.
    """
    config = resolved(compose(overrides).config)
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        preflight(config, folder, list(overrides))
        runner = build(config, folder)
        try:
            yield runner
        finally:
            runner.close()


@contextmanager
def trained(work: Work, overrides: Sequence[str], num_seeds: int = 1) -> Iterator[Runner]:
    """Provide the runner of a work after its first iteration, when the memory has rows and parts are warm."""
    with built([*work.overrides(), f"num_seeds={num_seeds}", *overrides]) as runner:
        runner.open()
        runner.train()
        yield runner


def learner(overrides: Sequence[str], spec: EnvSpec, seeds: Sequence[int], device: torch.device) -> Agent:
    """Return the agent of a configuration for an environment of this kind, which it does not make."""
    config = resolved(compose(overrides).config)
    network, agent = make(config["network"]), make(config["agent"])
    found: Agent = agent(
        network=network, planned_updates=0, spec=spec, seeds=seeds, num_envs=1, device=device
    )
    return found


def filled(rows: int, overrides: Sequence[str]) -> ReplayMemory:
    """Return the memory of one seed, filled with one long episode."""
    with built([*LIGHT.overrides(), f"memory.capacity={rows}", *overrides]) as runner:
        memory = runner.memory
    obs = np.random.default_rng(0).standard_normal((rows + 1, 1, 1, 4), np.float32)
    for row in rows_of(obs):
        memory.push(row)
    return memory


def rows_of(obs: Array) -> Iterator[Row]:
    """Yield the steps of an unfinished episode with the observations [T + 1, 1, 1, 4]."""
    action, reward = np.zeros((1, 1), np.int64), np.ones((1, 1), np.float32)
    no, yes = np.zeros((1, 1), np.bool_), np.ones((1, 1), np.bool_)
    for before, after in itertools.pairwise(obs):
        yield Row(before, action, reward, after, no, no, no, yes)


def paired(
    calls: Sequence[Call], repeats: int, seconds: float = SECONDS, clock: Clock = time.process_time
) -> list[list[float]]:
    """Return the microseconds of each call, of the CPU by default, measured alternately `repeats` times."""
    counts = [enough(call, seconds, clock) for call in calls]
    rounds = [[cost(call, n, clock) for call, n in zip(calls, counts, strict=True)] for _ in range(repeats)]
    return [list(costs) for costs in zip(*rounds, strict=True)]


def cost(call: Call, count: int, clock: Clock = time.process_time) -> float:
    """Return the microseconds of a call, of the CPU by default, averaged over `count` calls."""
    start = clock()
    for _ in range(count):
        call()
    return (clock() - start) / count * 1e6


def enough(call: Call, seconds: float, clock: Clock) -> int:
    """Return a number of calls, a power of two, that takes at least `seconds`; also warm the call up."""
    count = 1
    while cost(call, count, clock) * count < seconds * 1e6:
        count *= 2
    return count
