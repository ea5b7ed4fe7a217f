"""Checks of memory and its parts, on made-up steps that overwrite each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dqn.conformance.assertions import near, require, same
from dqn.conformance.candidate import CPU, MISSING, Candidate
from dqn.conformance.fake_episodes import GAMMA, NUM_ENVS, SPEC, FakeEpisodes
from dqn.memory import Ring
from dqn.types import Floats, Integers

SEEDS = (0, 1)
SIZE = 16
ROWS = 40
"""Of an environment, beyond what a sample reads."""


def make_ring(span: int, num_seeds: int) -> Ring:
    capacity = (2 * span + ROWS) * NUM_ENVS
    return Ring(capacity=capacity, span=span, num_seeds=num_seeds, num_envs=NUM_ENVS, spec=SPEC)


def reader(candidate: Candidate) -> None:
    """Check every sample that the reader can give, again and again while rows are overwritten."""
    read = candidate.part("memory.reader")(gamma=GAMMA)
    episodes, ring = FakeEpisodes(SEEDS), make_ring(read.span, len(SEEDS))
    half = ring.is_start.size // len(SEEDS)
    for count, step in enumerate(episodes.rows):
        ring.push([step])
        if count % 10 != 9:
            continue
        for k in range(len(SEEDS)):
            start = k * half + np.flatnonzero(ring.is_start[k * half : (k + 1) * half])[None]
            found = read(ring, start)
            for name, field in zip(found._fields, found, strict=True):
                require(
                    field.shape == start.shape, f"{name} has shape {list(field.shape)}, not that of start"
                )
            for row, *fields in zip(start[0], *(field[0] for field in found), strict=True):
                reward, discount, following = fields
                episodes.check(ring.obs[row], reward, discount, ring.obs[following], read.span)


class SamplerRun:
    """A sampler on a ring of its own, told of every row."""

    def __init__(self, candidate: Candidate, seeds: tuple[int, ...], span: int) -> None:
        self.episodes, self.ring = FakeEpisodes(seeds), make_ring(span, len(seeds))
        self.make = candidate.part("memory.sampler")
        self.seeds = seeds
        self.sampler = self.make(ring=self.ring, seeds=seeds)

    def sample(self) -> tuple[Integers, Floats]:
        """Return rows, counted within each seed, and weights; both [K, B], checked."""
        row, weight = self.sampler.sample(SIZE)
        shape, count = (len(self.seeds), SIZE), self.ring.is_start.size // len(self.seeds)
        for name, value in (("rows", row), ("weights", weight)):
            require(value.shape == shape, f"the {name} have shape {list(value.shape)}, not {list(shape)}")
        require(weight.dtype == np.float32, f"the weights are {weight.dtype}; they should be float32")
        right = bool(np.isfinite(weight).all() and (weight > 0).all() and (weight <= 1).all())
        require(
            right,
            f"weights lie from {weight.min():.3g} to {weight.max():.3g}; they should be over 0, up to 1",
        )
        seed = row // count
        require((seed == np.arange(len(self.seeds))[:, None]).all(), "a row is one of another seed's rows")
        require(self.ring.is_start[row].all(), "a row is no start of samples (ring.is_start)")
        return row - seed * count, weight

    def run(self, first: int, last: int) -> list[tuple[Integers, Floats]]:
        """Store some rows; sample after each and tell how wrong the predictions were."""
        found = []
        for count in range(first, last):
            self.sampler.changed(self.ring.push([self.episodes.rows[count]]))
            if count + 1 < self.ring.span:
                continue
            row, weight = self.sample()
            found.append((row, weight))
            rows = self.ring.is_start.size // len(self.seeds)
            errors = 0.1 + (row % 7).astype(np.float32)
            self.sampler.update(row + np.arange(len(self.seeds))[:, None] * rows, errors)
        return found


def sampler(candidate: Candidate) -> None:
    span = candidate.part("memory.reader")(gamma=GAMMA).span if candidate.target("memory.reader") else 1
    stack, again, alone = (SamplerRun(candidate, seeds, span) for seeds in (SEEDS, SEEDS, SEEDS[1:]))
    half, end = len(stack.episodes.rows) // 2, len(stack.episodes.rows)
    first = stack.run(0, half)
    text = "draws others than another sampler of the same seeds; it should draw from dqn.seeding.stream"
    same_draws(first, again.run(0, half), text)
    state = stack.sampler.state_dict()
    rest = stack.run(half, end)
    resumed = again.make(ring=again.ring, seeds=SEEDS)
    resumed.load_state_dict(state)
    again.sampler = resumed
    text = (
        "with its state_dict loaded into a new one, a sampler draws other samples than the one that went on"
    )
    same_draws(rest, again.run(half, end), text)
    for (rows, weights), (row, weight) in zip(first + rest, alone.run(0, end), strict=True):
        text = "of a seed alone, other {} than of the same seed beside another one"
        same(row[0], rows[1], text.format("samples are drawn"))
        near(weight[0], weights[1], text.format("weights are given"))


def same_draws(
    one: Sequence[tuple[Integers, Floats]], other: Sequence[tuple[Integers, Floats]], text: str
) -> None:
    for mine, theirs in zip(one, other, strict=True):
        same(mine[0], theirs[0], text)
        same(mine[1], theirs[1], text)


def make_memory(candidate: Candidate, seeds: tuple[int, ...], capacity: int) -> Any:
    """Return the memory, small if `capacity` is a key of it."""
    node = dict(candidate.node("memory"))
    if node.get("capacity", MISSING) is not MISSING:
        node["capacity"] = capacity
    made = candidate.make(node)
    return made(gamma=GAMMA, spec=SPEC, seeds=seeds, num_envs=NUM_ENVS, device=CPU)


def memory(candidate: Candidate) -> None:
    """Check what comes out of the whole memory against what went in."""
    span = make_memory(candidate, SEEDS, 10_000).reader.span
    whole = make_memory(candidate, SEEDS, (2 * span + ROWS) * NUM_ENVS)
    episodes = FakeEpisodes(SEEDS)
    for count, step in enumerate(episodes.rows, 1):
        whole.push(step)
        if count * NUM_ENVS < whole.least_stored or count % 5:
            continue
        sample = whole.sample(SIZE)
        check_batch(sample.batch, episodes, span)
        whole.update_priorities(sample.row, np.ones((len(SEEDS), SIZE), np.float32))


def check_batch(batch: Any, episodes: FakeEpisodes, span: int) -> None:
    for name, field in zip(batch._fields, batch, strict=True):
        right = (len(SEEDS), SIZE, *SPEC.obs.shape[: int(name in ("obs", "next_obs"))])
        require(
            isinstance(field, torch.Tensor) and field.shape == right,
            f"{name} of a batch has shape {list(field.shape)}, not {list(right)}",
        )
    obs, action, reward, discount, next_obs = (field.numpy() for field in batch)
    for k, b in np.ndindex(action.shape):
        step = episodes.steps.get(tuple(obs[k, b].tolist()))
        require(
            step is not None and obs[k, b, 0] == SEEDS[k],
            f"a sample of seed {SEEDS[k]} is no step of this seed",
        )
        assert step is not None
        require(action[k, b] == step.action, f"a sample has action {action[k, b]}; {step.action} was taken")
        episodes.check(obs[k, b], reward[k, b].item(), discount[k, b].item(), next_obs[k, b], span)
