"""A memory of Atari frames: what a save costs, what the rows take in memory, what a sample costs."""

import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path

import numpy as np
import torch

from benchmarks.subjects import paired
from benchmarks.table import Line
from benchmarks.whole import Setting
from dqn.config.compose import compose
from dqn.config.preflight import resolved
from dqn.config.wrappers import env_factory
from dqn.errors import UserError
from dqn.memory import NStep, Prioritized, ReplayMemory
from dqn.memory.ring import STORED_ONCE
from dqn.schedule import Constant
from dqn.storage.checkpoint import Checkpoint, TorchPart, digest
from dqn.system import resident
from dqn.types import FEED_FORWARD, Array, EnvSpec, Row

GAME = "Breakout"
STACK, BATCH = 4, 32
NEW_ROWS = 10_000
"""Rows stored between two saves."""
SIZES = (100_000, 1_000_000)
QUICK_ROWS, QUICK_SIZE = 200, 1_000
DRAWS = 500
"""Samples that are read in turn, so that most of their rows are in no cache."""
WHOLE = 100_000
"""Most rows of the file that is written for comparison; larger memories are compared with this part."""


def frames(setting: Setting) -> list[Line]:
    """A memory of 100,000 and 1,000,000 Atari frames: save of 10,000 new ones, size in memory, sample."""
    torch.set_num_threads(1)
    new_rows, sizes = (QUICK_ROWS, [QUICK_SIZE]) if setting.quick else (NEW_ROWS, SIZES)
    try:
        spec, played = random_play(new_rows)
    except UserError as error:
        print(f"left out: {error}")
        return []
    return [line for size in sizes for line in of_size(size, spec, played, setting)]


def random_play(count: int) -> tuple[EnvSpec, Array]:
    """Return the frames [count + 1, ...] of games with random actions."""
    config = resolved(compose(["env=atari", f"env.game={GAME}", f"env.frame_stack={STACK}"]).config)
    factory = env_factory(config["env"])
    spec, env = factory.spec, factory.make(training=False)
    found: Array = np.zeros((count + 1, *spec.obs.shape), spec.obs.dtype)
    env.action_space.seed(0)
    found[0], _ = env.reset(seed=0)
    for i in range(1, count + 1):
        found[i], _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    env.close()
    return spec, found


def of_size(size: int, spec: EnvSpec, played: Array, setting: Setting) -> list[Line]:
    """Measure a memory that has wrapped around, and was saved after every iteration."""
    before = resident()
    memory = make_memory(size, spec)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint, costs, sizes = Checkpoint(folder), [], []
        for iteration in range(1, size // (len(played) - 1) + 1 + setting.repeats):
            for row in rows_of(played):
                memory.push(row)
            start = time.process_time()
            checkpoint.save(iteration, {"memory": TorchPart(memory), "rows": memory.rows})
            costs.append(time.process_time() - start)
            sizes.append((checkpoint.folder / f"rows-{iteration}.rows").stat().st_size)
        taken = (resident() - before) / 1e9
        files = [path.stat().st_size for path in checkpoint.folder.iterdir()]
        new, raw = sizes[-1] / 1e6, (len(played) - 1) * memory.ring.bytes_per_row / 1e6
        print(
            f"  {size:,} rows: {len(files)} files, {sum(files) / 1e6:,.1f} MB;"
            f" a save adds {new:.2f} MB, for rows of {raw:.1f} MB",
            flush=True,
        )
        part, whole = min(size, WHOLE), []
        for _ in range(setting.repeats):
            start = time.process_time()
            write_whole(memory, part, folder / "whole")
            whole.append(time.process_time() - start)
    ring = memory.ring
    drawn = cycle([memory.sampler.sample(BATCH)[0] for _ in range(DRAWS)])
    mine, others = paired(
        [
            lambda: ring.latest(ring.after(next(drawn)), STACK + 1),
            lambda: [
                ring.observations(rows) for start in [next(drawn)] for rows in (start, ring.after(start))
            ],
        ],
        setting.repeats,
        0.01 if setting.quick else 0.2,
    )
    shape = f"{size:,} frames of {'x'.join(map(str, spec.obs.shape))}"
    stacks = size * STACK * spec.obs.dtype.itemsize * int(np.prod(spec.obs.shape)) / 1e9
    is_large = size == max(SIZES)
    return [
        Line(
            work=f"save of {len(played) - 1:,} new rows, {shape}",
            beside=f"a file of {part:,} rows, hashed",
            ours=costs[-setting.repeats :],
            theirs=whole,
            unit="s CPU",
            most_ours=0.3 if is_large else None,
        ),
        Line(
            work=f"memory of {shape}",
            beside="whole stacks, each stored once (computed)",
            ours=[taken],
            theirs=[stacks],
            unit="GB",
            most_ours=7.4 if is_large else None,
        ),
        Line(
            work=f"both observations of {BATCH} transitions, {STACK} frames each, {shape}",
            beside="one after the other",
            ours=mine,
            theirs=others,
            unit="µs CPU",
        ),
    ]


def make_memory(size: int, spec: EnvSpec) -> ReplayMemory:
    """Return a prioritized memory of one seed, whose checkpoint has all priorities too."""
    return ReplayMemory(
        capacity=size,
        reader=partial(NStep, n_step=1),
        sampler=partial(Prioritized, alpha=0.5, beta=Constant(value=0.5), epsilon=1e-6, max_weight="batch"),
        gamma=0.99,
        spec=spec,
        seeds=[0],
        num_envs=1,
        device=torch.device("cpu"),
        network=FEED_FORWARD,
    )


def rows_of(played: Array) -> Iterator[Row]:
    """Yield the steps of an iteration, whose end cuts its one episode."""
    action, reward = np.zeros((1, 1), np.int64), np.zeros((1, 1), np.float32)
    no, yes = np.zeros((1, 1), np.bool_), np.ones((1, 1), np.bool_)
    last = len(played) - 2
    for i, (obs, next_obs) in enumerate(pairwise(played[:, None, None])):
        yield Row(obs, action, reward, next_obs, no, yes if i == last else no, no, yes)


def write_whole(memory: ReplayMemory, count: int, path: Path) -> None:
    """Write the first `count` rows to a file, copied as for a checkpoint, and hash it."""
    state = {name: torch.from_numpy(getattr(memory.ring, name)[:count].copy()) for name in STORED_ONCE}
    with path.open("wb+") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        digest(file)
