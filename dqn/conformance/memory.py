"""Checks of memory and its parts, with made-up episodes that overwrite each other."""

from typing import Any

import numpy as np
import torch

from dqn.conformance.assertions import Failure, require, require_close, require_equal, require_shape
from dqn.conformance.candidate import CPU, SEEDS, Candidate
from dqn.conformance.fake_episodes import GAMMA, NUM_ENVS, SPEC, STEPS, FakeEpisodes, key
from dqn.memory import Ring
from dqn.types import Batch, Floats, Integers

SIZE = 16
ROWS = 40
"""Rows of an environment in addition to those that a sample reads."""


def capacity_for(span: int) -> int:
    """Return a capacity small enough that the episodes overwrite each other."""
    return (2 * span + ROWS) * NUM_ENVS


def make_ring(span: int, num_seeds: int) -> Ring:
    return Ring(capacity=capacity_for(span), span=span, num_seeds=num_seeds, num_envs=NUM_ENVS, spec=SPEC)


def reader(candidate: Candidate) -> None:
    """Check every sample that the reader can return, repeatedly while rows are overwritten."""
    read = candidate.part("memory.reader")(gamma=GAMMA)
    episodes, ring = FakeEpisodes(SEEDS), make_ring(read.span, len(SEEDS))
    for count, step in enumerate(episodes.rows, 1):
        ring.push([step])
        if count % 10:
            continue
        start = np.flatnonzero(ring.is_start)[None]
        transitions = read(ring, start)
        for name, field in zip(transitions._fields, transitions, strict=True):
            require_shape(name, field, start.shape, ": that of start")
        for row, reward, discount, following in zip(
            start[0], *(field[0] for field in transitions), strict=True
        ):
            episodes.check(ring.obs[row], reward, discount, ring.obs[following], read.span)


class SamplerRun:
    """A sampler with its ring, in which rows are stored, sampled and updated."""

    def __init__(self, candidate: Candidate, seeds: tuple[int, ...], span: int) -> None:
        self.seeds, self.episodes, self.ring = seeds, FakeEpisodes(seeds), make_ring(span, len(seeds))
        self.make = candidate.part("memory.sampler")
        self.sampler = self.make(ring=self.ring, seeds=seeds)
        self.rows_per_seed = self.ring.is_start.size // len(seeds)
        self.first = np.arange(len(seeds))[:, None] * self.rows_per_seed
        """First row of each seed [K, 1]."""

    def sample(self) -> tuple[Integers, Floats]:
        """Return checked rows and weights [K, B]; rows are counted within each seed."""
        row, weight = self.sampler.sample(SIZE)
        for name, value in (("the array of rows", row), ("the array of weights", weight)):
            require_shape(name, value, (len(self.seeds), SIZE))
        require(weight.dtype == np.float32, f"the weights are {weight.dtype}; they should be float32")
        found = f"weights lie from {weight.min():.3g} to {weight.max():.3g}"
        right = bool(np.isfinite(weight).all() and (weight > 0).all() and (weight <= 1).all())
        require(right, f"{found}; they should be greater than 0 and at most 1")
        is_own = row // self.rows_per_seed * self.rows_per_seed == self.first
        require(is_own.all(), "a row is one of another seed's rows")
        require(self.ring.is_start[row].all(), "a row is not a start of samples (ring.is_start)")
        return row - self.first, weight

    def run(self, first: int, last: int) -> tuple[Integers, Floats]:
        """Store rows; after each one sample, and update the sample's priorities; return samples [T, K, B]."""
        rows, weights = [], []
        for count in range(first, last):
            self.sampler.changed(self.ring.push([self.episodes.rows[count]]))
            if count + 1 >= self.ring.span:
                row, weight = self.sample()
                rows.append(row)
                weights.append(weight)
                self.sampler.update(row + self.first, 0.1 + (row % 7).astype(np.float32))
        return np.stack(rows), np.stack(weights)


def sampler(candidate: Candidate) -> None:
    """Check samples, and that they depend only on the seed and continue from the sampler's state."""
    span = candidate.part("memory.reader")(gamma=GAMMA).span if candidate.target("memory.reader") else 1
    stack, again, alone = (SamplerRun(candidate, seeds, span) for seeds in (SEEDS, SEEDS, SEEDS[1:]))
    half = STEPS // 2
    first = stack.run(0, half)
    text = "draws differ from those of another sampler of the same seeds; use dqn.seeding.stream"
    for one, other in zip(first, again.run(0, half), strict=True):
        require_equal(one, other, text)
    state = stack.sampler.state_dict()
    rest = stack.run(half, STEPS)
    again.sampler = again.make(ring=again.ring, seeds=SEEDS)
    again.sampler.load_state_dict(state)
    text = "draws differ between a sampler and a new one with its state_dict"
    for one, other in zip(rest, again.run(half, STEPS), strict=True):
        require_equal(one, other, text)
    rows, weights = (np.concatenate(both)[:, 1] for both in zip(first, rest, strict=True))
    row, weight = alone.run(0, STEPS)
    text = "of a seed alone differ from those of the same seed beside another one"
    require_equal(row[:, 0], rows, f"samples {text}")
    require_close(weight[:, 0], weights, f"weights {text}")


def make_memory(candidate: Candidate, capacity: int) -> Any:
    """Return the memory, with this capacity if `capacity` is one of its keys."""
    node = dict(candidate.node("memory"))
    if "capacity" in node:
        node["capacity"] = capacity
    return candidate.make(node)(gamma=GAMMA, spec=SPEC, seeds=SEEDS, num_envs=NUM_ENVS, device=CPU)


def memory(candidate: Candidate) -> None:
    """Check the batches of the whole memory against the episodes that it stores."""
    span = make_memory(candidate, 10_000).reader.span
    whole = make_memory(candidate, capacity_for(span))
    episodes = FakeEpisodes(SEEDS)
    for count, step in enumerate(episodes.rows, 1):
        whole.push(step)
        if count * NUM_ENVS < whole.least_stored or count % 5:
            continue
        sample = whole.sample(SIZE)
        check_batch(sample.batch, episodes, span)
        whole.update_priorities(sample.row, np.ones((len(SEEDS), SIZE), np.float32))


def check_batch(batch: Batch, episodes: FakeEpisodes, span: int) -> None:
    for name, field in zip(batch._fields, batch, strict=True):
        require(isinstance(field, torch.Tensor), f"{name} of a batch is {type(field)}; it should be a tensor")
        shape = SPEC.obs.shape if name in ("obs", "next_obs") else ()
        require_shape(f"{name} of a batch", field, (len(SEEDS), SIZE, *shape))
    obs, action, reward, discount, next_obs = (field.numpy() for field in batch)
    for k, b in np.ndindex(action.shape):
        step = episodes.steps.get(key(obs[k, b]))
        if step is None or obs[k, b, 0] != SEEDS[k]:
            raise Failure(f"a sample of seed {SEEDS[k]} is no step of this seed")
        require(action[k, b] == step.action, f"a sample has action {action[k, b]}; {step.action} was taken")
        episodes.check(obs[k, b], reward[k, b].item(), discount[k, b].item(), next_obs[k, b], span)
