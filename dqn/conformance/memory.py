"""Checks of memory and its parts, with made-up episodes that overwrite each other."""

from typing import Any

import numpy as np
import torch

from dqn.conformance.assertions import Failure, require, require_close, require_equal, require_shape
from dqn.conformance.candidate import CPU, SEEDS, Candidate
from dqn.memory import Ring
from dqn.seeding import stream
from dqn.types import Batch, EnvSpec, Floats, Integers, ObsSpec, Row

SPEC = EnvSpec(ObsSpec((3,), np.dtype(np.float32), 0, 1.0), 3, None)
"""Spec of the episodes; an observation consists of the seed, the environment and the step."""
NUM_ENVS = 2
STEPS = 150
GAMMA = 0.9
SIZE = 16
ROWS = 40
"""Rows of an environment in addition to those that a sample reads."""


class FakeEpisodes:
    """Episodes in NUM_ENVS environments of each seed; those of a seed do not depend on the other seeds.

    Attributes:
        rows: all environments' steps, in the form that memory takes.
        index: the step, and the indices of seed and environment, of each observation.
    """

    def __init__(self, seeds: tuple[int, ...]) -> None:
        self.rows: list[Row] = []
        self.index: dict[tuple[float, ...], tuple[int, tuple[int, ...]]] = {}
        streams = [stream(seed, "check steps") for seed in seeds]
        names = np.array([[[seed, env, 0] for env in range(NUM_ENVS)] for seed in seeds], np.float32)
        for t in range(STEPS):
            numbers = np.stack([generator.random((NUM_ENVS, 4)) for generator in streams])
            terminated, truncated = numbers[..., 0] < 0.1, numbers[..., 0] > 0.9
            obs, next_obs = names.copy(), names.copy()
            obs[..., 2], next_obs[..., 2] = t, np.where(terminated | truncated, t + 0.5, t + 1)
            action = (3 * numbers[..., 1]).astype(np.int64)
            reward, active = numbers[..., 2].astype(np.float32), np.ones_like(terminated)
            no_life_lost = np.zeros_like(active)
            self.rows.append(Row(obs, action, reward, next_obs, terminated, truncated, no_life_lost, active))
            self.index |= {tuple(obs[at].tolist()): (t, at) for at in np.ndindex(terminated.shape)}

    def check(self, start: Floats, reward: float, discount: float, next_obs: Floats, span: int) -> None:
        """Check a sample that starts at the observation `start`.

        Raises:
            Failure: it does not sum the rewards of 1 to `span` steps up to the observation `next_obs`.
        """
        t, at = self.index[tuple(start.tolist())]
        total, factor = 0.0, 1.0
        sample = f"a sample from step {t} of an environment"
        for m, row in enumerate(self.rows[t : t + span], 1):
            total += factor * float(row.reward[at])
            factor *= GAMMA
            if np.array_equal(row.next_obs[at], next_obs):
                expected = 0.0 if row.terminated[at] else factor
                how = "with its termination" if row.terminated[at] else "without termination"
                text = f"{sample} that reads {m} step(s) {how} has discount {discount:.4g}"
                require(abs(discount - expected) < 1e-5, f"{text}; it should be {expected:.4g}")
                text = f"{sample} that reads {m} step(s) has reward {reward:.4g}"
                require(abs(reward - total) < 1e-4, f"{text}; the discounted sum is {total:.4g}")
                return
            if row.terminated[at] or row.truncated[at]:
                break
        found = f"{sample} has next_obs {next_obs.tolist()}"
        raise Failure(f"{found}, which is none of its episode's next {span} observation(s)")


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

    def run(self, first: int, last: int) -> Floats:
        """Store rows; after each one sample, and update priorities; return rows and weights [T, 2, K, B]."""
        samples = []
        for count in range(first, last):
            self.sampler.changed(self.ring.push([self.episodes.rows[count]]))
            if count + 1 >= self.ring.span:
                row, weight = self.sample()
                samples.append((row, weight))
                self.sampler.update(row + self.first, 0.1 + (row % 7).astype(np.float32))
        return np.array(samples, np.float64)


def sampler(candidate: Candidate) -> None:
    """Check samples, and that they depend only on the seed and continue from the sampler's state."""
    span = candidate.part("memory.reader")(gamma=GAMMA).span if candidate.target("memory.reader") else 1
    stack, again, alone = (SamplerRun(candidate, seeds, span) for seeds in (SEEDS, SEEDS, SEEDS[1:]))
    half = STEPS // 2
    first = stack.run(0, half)
    text = "draws differ from those of another sampler of the same seeds; use dqn.seeding.stream"
    require_equal(first, again.run(0, half), text)
    state = stack.sampler.state_dict()
    rest = stack.run(half, STEPS)
    again.sampler = again.make(ring=again.ring, seeds=SEEDS)
    again.sampler.load_state_dict(state)
    text = "draws differ between a sampler and a new one with its state_dict"
    require_equal(rest, again.run(half, STEPS), text)
    rows, weights = np.concatenate((first, rest))[:, :, 1].swapaxes(0, 1)
    row, weight = alone.run(0, STEPS)[:, :, 0].swapaxes(0, 1)
    text = "of a seed alone differ from those of the same seed beside another one"
    require_equal(row, rows, f"samples {text}")
    require_close(weight, weights, f"weights {text}")


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
        t, at = episodes.index.get(tuple(obs[k, b].tolist()), (0, None))
        if at is None or at[0] != k:
            raise Failure(f"a sample of seed {SEEDS[k]} is no step of this seed")
        taken = episodes.rows[t].action[at]
        require(action[k, b] == taken, f"a sample has action {action[k, b]}; {taken} was taken")
        episodes.check(obs[k, b], reward[k, b].item(), discount[k, b].item(), next_obs[k, b], span)
