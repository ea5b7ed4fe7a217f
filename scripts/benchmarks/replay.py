"""Replay memory beside the peers' buffers, measured alternately in separate environments."""

import json
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.environments import CPPRB, PROGRAMS, SB3
from benchmarks.processes import run
from benchmarks.subjects import cost, filled, rows_of
from benchmarks.table import Line
from benchmarks.whole import Setting
from dqn.memory import ReplayMemory
from dqn.types import Array

BATCH = 256
UNIFORM_ROWS = 10_000
PRIORITIZED_ROWS = (10_000, 1_000_000)
COUNT = 5_000
"""Calls in one measurement."""


def replay(setting: Setting) -> list[Line]:
    """Push and sample of 256 beside Stable-Baselines3's; prioritized ones beside cpprb's."""
    torch.set_num_threads(1)
    return [*uniform(setting), *prioritized(setting)]


def uniform(setting: Setting) -> list[Line]:
    python = setting.python(SB3)
    if python is None:
        return []
    memory = filled(UNIFORM_ROWS, ["memory=uniform", *setting.overrides])
    mine, others = [], []
    for _ in range(setting.repeats):
        mine.append({"push": push_cost(memory), "sample": cost(lambda: memory.sample(BATCH), COUNT)})
        others.append(of_peer(python, SB3.replay, UNIFORM_ROWS))
    return [
        Line(
            work=work,
            beside=SB3.name,
            ours=[costs[key] for costs in mine],
            theirs=[costs[key] for costs in others],
            unit="µs CPU",
            most=0.5,
        )
        for work, key in (("uniform push", "push"), (f"uniform sample of {BATCH}", "sample"))
    ]


def push_cost(memory: ReplayMemory) -> float:
    """Return the microseconds of a push, including the deferred writing of its row."""
    rows = list(rows_of(np.random.default_rng(0).standard_normal((COUNT + 1, 1, 1, 4), np.float32)))
    following = iter(rows)

    def push() -> None:
        memory.push(next(following))

    memory.sample(1)
    return cost(push, COUNT - 1) + cost(lambda: memory.sample(1), 1) / COUNT


def prioritized(setting: Setting) -> list[Line]:
    """Measure a sample with the update of its priorities."""
    python = setting.python(CPPRB)
    if python is None:
        return []
    lines = []
    for rows in PRIORITIZED_ROWS:
        memory = filled(rows, ["memory=prioritized", *setting.overrides])
        learn_all(memory, 3 * rows // BATCH)
        mine, others = [], []
        for _ in range(setting.repeats):
            mine.append(cost(partial(learn_all, memory, COUNT), 1) / COUNT)
            others.append(of_peer(python, CPPRB.replay, rows)["learn"])
        work = f"prioritized sample and update of {BATCH}, {rows:,} rows"
        lines.append(Line(work=work, beside=CPPRB.name, ours=mine, theirs=others, unit="µs CPU", most=1.0))
    return lines


def learn_all(memory: ReplayMemory, count: int) -> None:
    """Sample and update priorities `count` times; most rows then have distinct priorities."""
    errors: Array = np.abs(np.random.default_rng(0).standard_normal((64, 1, BATCH))).astype(np.float32)
    for i in range(count):
        memory.update_priorities(memory.sample(BATCH).row, errors[i % len(errors)])


def of_peer(python: Path, program: str, rows: int) -> dict[str, float]:
    """Return the microseconds that a peer's program measured."""
    command = [str(python), str(PROGRAMS / program), *map(str, (rows, BATCH, COUNT))]
    with tempfile.TemporaryDirectory() as folder:
        _, text = run(command, Path(folder))
    costs: dict[str, float] = json.loads(text.splitlines()[-1])
    return costs
