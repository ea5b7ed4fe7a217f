"""Checks of memory and its parts, with made-up episodes that overwrite each other."""

from typing import Any

import numpy as np
import torch

from dqn.conformance.assertions import Failure, require, require_close, require_equal, require_shape
from dqn.conformance.candidate import CPU, SEEDS, Candidate
from dqn.conformance.windows import of_windows, span_of, transitions_of, windows_of
from dqn.errors import brief
from dqn.memory import NStep, Ring, Sequences
from dqn.memory.ring import least_rows
from dqn.seeding import stream
from dqn.types import Batch, Bools, EnvSpec, Floats, Integers, NetworkSpec, ObsSpec, Row

SPEC = EnvSpec(ObsSpec((3,), np.dtype(np.float32), 0, 1.0), 3, None)
"""Spec of the episodes; an observation consists of the seed, the environment and the step."""
NUM_ENVS = 2
STEPS = 150
FIELDS = ("obs", "action", "reward", "discount", "next_obs")
"""The fields that every batch has."""
NAMES = ("start", "reward", "discount", "following")
GAMMA = 0.9
SIZE = 16
ROWS = 40
"""Rows of an environment in addition to those that a sample reads."""


class FakeEpisodes:
    """Episodes in NUM_ENVS environments of each seed; those of a seed do not depend on the other seeds.

    In some steps a life is lost, after which an episode continues unless it ends in the same step.

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
            mask, next_mask = masks_of(obs), masks_of(next_obs)
            action = np.where(mask, numbers[..., 1:2] * [1, 7, 5] % 1, -1.0).argmax(-1)  # a valid one
            reward, active = numbers[..., 2].astype(np.float32), np.ones_like(terminated)
            life_lost = numbers[..., 0] < 0.2
            ends = (terminated, truncated, life_lost)
            self.rows.append(Row(obs, action, reward, next_obs, *ends, active, None, mask, next_mask))
            self.index |= {tuple(obs[at].tolist()): (t, at) for at in np.ndindex(terminated.shape)}

    def check(self, start: Floats, reward: float, discount: float, next_obs: Floats, span: int) -> int:
        """Check a sample that starts at the observation `start`; return its number of steps.

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
                terminates = row.terminated[at] or row.life_lost[at]
                expected = 0.0 if terminates else factor
                end = "a lost life" if row.life_lost[at] and not row.terminated[at] else "its termination"
                how = f"with {end}" if terminates else "without termination"
                text = f"{sample} that reads {m} step(s) {how} has discount {discount:.4g}"
                require(abs(discount - expected) < 1e-5, f"{text}; it should be {expected:.4g}")
                text = f"{sample} that reads {m} step(s) has reward {reward:.4g}"
                require(abs(reward - total) < 1e-4, f"{text}; the discounted sum is {total:.4g}")
                return m
            if row.terminated[at] or row.truncated[at] or row.life_lost[at]:
                break
        found = f"{sample} has next_obs {next_obs.tolist()}"
        raise Failure(f"{found}, which is none of its episode's next {span} observation(s)")

    def frames(self, t: int, at: tuple[int, ...], stack: int) -> Floats:
        """Return the latest observations [stack, 3] of the episode before step t, zeros before its first."""
        frames = [self.rows[t].obs[at]]
        while len(frames) < stack and t > 0 and not self.ends(t - 1, at):
            t -= 1
            frames.append(self.rows[t].obs[at])
        frames += [np.zeros(3, np.float32)] * (stack - len(frames))
        return np.stack(frames[::-1])

    def ends(self, t: int, at: tuple[int, ...]) -> bool:
        """Return whether the episode ends in step t."""
        return bool(self.rows[t].terminated[at] or self.rows[t].truncated[at])


def masks_of(obs: Floats) -> Bools:
    """Return the valid actions [*, 3] at observations [*, 3]; those of successive ones differ."""
    number = 1 + (obs @ [1, 3, 2]).astype(np.int64) % 7
    valid: Bools = (number[..., None] >> np.arange(3)) % 2 == 1
    return valid


def capacity_for(reader: Any, stack: int) -> int:
    """Return a capacity small enough that the episodes overwrite each other."""
    least = least_rows(span=reader.span, stack=stack, windows=windows_of(reader))
    return (least + int(reader.span) + ROWS) * NUM_ENVS


def spec_of(stack: int, *, has_mask: bool = False) -> EnvSpec:
    return SPEC._replace(obs=SPEC.obs._replace(stack=stack), has_mask=has_mask)


def make_ring(candidate: Candidate, reader: Any, num_seeds: int) -> Ring:
    """Return a ring for the frames that the configuration's network reads together."""
    stack = candidate.spec.obs.stack
    return Ring(
        capacity=capacity_for(reader, stack),
        span=reader.span,
        num_seeds=num_seeds,
        num_envs=NUM_ENVS,
        spec=spec_of(stack),
        windows=windows_of(reader),
    )


def reader(candidate: Candidate) -> None:
    """Check every sample that the reader can return, repeatedly while rows are overwritten."""
    read = candidate.part("memory.reader")(gamma=GAMMA)
    episodes, ring = FakeEpisodes(SEEDS), make_ring(candidate, read, len(SEEDS))
    for count, step in enumerate(episodes.rows, 1):
        ring.push([step])
        if count % 10:
            continue
        start = np.flatnonzero(ring.is_start)[None]
        if isinstance(read, Sequences):
            transitions = of_windows(read, ring, start)
        else:
            transitions = [start, *read(ring, start)]
            for name, field in zip(NAMES, transitions, strict=True):
                require_shape(name, field, start.shape, ": that of start")
        for row, reward, discount, following in zip(*(field.ravel() for field in transitions), strict=True):
            episodes.check(ring.obs[row], reward, discount, ring.obs[following], span_of(read))


class SamplerRun:
    """A sampler with its ring, in which rows are stored, sampled and updated."""

    def __init__(self, candidate: Candidate, seeds: tuple[int, ...], reader: Any) -> None:
        self.seeds, self.episodes = seeds, FakeEpisodes(seeds)
        self.ring = make_ring(candidate, reader, len(seeds))
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
            if self.ring.is_start.reshape(len(self.seeds), -1).any(1).all():
                row, weight = self.sample()
                samples.append((row, weight))
                self.sampler.update(row + self.first, 0.1 + (row % 7).astype(np.float32))
        return np.array(samples, np.float64)


def sampler(candidate: Candidate) -> None:
    """Check samples, and that they depend only on the seed and continue from the sampler's state."""
    has_reader = candidate.target("memory.reader")
    reader = candidate.part("memory.reader")(gamma=GAMMA) if has_reader else NStep(n_step=1, gamma=GAMMA)
    stack, again, alone = (SamplerRun(candidate, seeds, reader) for seeds in (SEEDS, SEEDS, SEEDS[1:]))
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


def make_memory(candidate: Candidate, capacity: int, stack: int) -> Any:
    """Return the memory, with this capacity if `capacity` is one of its keys."""
    node = dict(candidate.node("memory"))
    if "capacity" in node:
        node["capacity"] = capacity
    spec = spec_of(stack, has_mask=candidate.spec.has_mask)
    common = {"spec": spec, "seeds": SEEDS, "num_envs": NUM_ENVS, "device": CPU}
    return candidate.make(node)(gamma=GAMMA, network=network_spec(candidate), **common)


def network_spec(candidate: Candidate) -> NetworkSpec:
    """Return what memory needs to know of the configuration's network."""
    made = candidate.network(SEEDS)
    return NetworkSpec(made.carry_size, made.previous_size > 0)


def memory(candidate: Candidate) -> None:
    """Check the batches of the whole memory, of single frames and of the configuration's stacks."""
    for stack in sorted({1, candidate.spec.obs.stack}):
        check_memory(candidate, stack)


def check_memory(candidate: Candidate, stack: int) -> None:
    """Check batches of stacks of frames against the episodes that the memory stores."""
    reader = make_memory(candidate, 10_000, stack).reader
    whole = make_memory(candidate, capacity_for(reader, stack), stack)
    episodes, carry_size = FakeEpisodes(SEEDS), network_spec(candidate).carry_size
    for count, step in enumerate(episodes.rows, 1):
        carry = np.full((len(SEEDS), NUM_ENVS, carry_size), count - 1, np.float32)
        row = step if candidate.spec.has_mask else step._replace(mask=None, next_mask=None)
        whole.push(row._replace(carry=carry) if carry_size else row)
        if count * NUM_ENVS < whole.least_stored or count % 5:
            continue
        sample = whole.sample(SIZE)
        batch, size = sample.batch, SIZE
        if isinstance(reader, Sequences):
            check_carry(batch, episodes, stack)
            batch, size = transitions_of(batch, reader.burn_in), SIZE * reader.span
        check_batch(batch, episodes, span_of(reader), stack, size)
        if candidate.spec.has_mask:
            check_masks(batch, size)
        whole.update_priorities(sample.row, np.ones((len(SEEDS), size), np.float32))


def check_carry(batch: Batch, episodes: FakeEpisodes, stack: int) -> None:
    """Check that windows start with the carry before their first row, the number of its step, or zeros."""
    assert batch.window is not None
    if batch.window.carry is None:
        return
    exists = batch.window.exists
    for k, b in np.ndindex(*batch.window.carry.shape[:2]):
        first = batch.obs[k, 0, b].reshape(stack, -1)[-1].tolist()
        t, at = episodes.index.get(tuple(first), (0, (0, 0)))
        is_new = t == 0 or episodes.ends(t - 1, at) or (exists is not None and exists[k, 0, b] == 0)
        found, expected = batch.window.carry[k, b, 0].item(), 0 if is_new else t
        text = f"a window that begins in step {t} starts with the carry of step {found:g}"
        require(found == expected, f"{text}; it should be that of step {expected}, 0 in a new episode")


def check_masks(batch: Batch, size: int) -> None:
    """Check that the masks are those of the observations; where nothing follows, any valid action will do."""
    for name, observed in (("mask", "obs"), ("next_mask", "next_obs")):
        mask, obs = getattr(batch, name), getattr(batch, observed)
        is_bool = isinstance(mask, torch.Tensor) and mask.dtype == torch.bool
        require(is_bool, f"{name} of a batch is {brief(mask)}; it should be a tensor of bool")
        require_shape(f"{name} of a batch", mask, (len(SEEDS), size, SPEC.num_actions))
        right = (mask.numpy() == masks_of(obs.reshape(*mask.shape[:2], -1, 3)[:, :, -1].numpy())).all(-1)
        if name == "next_mask":
            right |= ((batch.discount == 0) & mask.any(-1)).numpy()
        require(right.all(), f"{name} of a sample is not the mask of its {observed}")


def check_batch(batch: Batch, episodes: FakeEpisodes, span: int, stack: int, size: int) -> None:
    for name in FIELDS:
        field = getattr(batch, name)
        require(isinstance(field, torch.Tensor), f"{name} of a batch is {type(field)}; it should be a tensor")
        shape = spec_of(stack).obs.stacked_shape if name in ("obs", "next_obs") else ()
        require_shape(f"{name} of a batch", field, (len(SEEDS), size, *shape))
    obs, action, reward, discount, next_obs = (getattr(batch, name).numpy() for name in FIELDS)
    obs, next_obs = (frames.reshape(*action.shape, stack, -1) for frames in (obs, next_obs))
    for k, b in np.ndindex(action.shape):
        t, at = episodes.index.get(tuple(obs[k, b, -1].tolist()), (0, None))
        if at is None or at[0] != k:
            raise Failure(f"a sample of seed {SEEDS[k]} is no step of this seed")
        taken = episodes.rows[t].action[at]
        require(action[k, b] == taken, f"a sample has action {action[k, b]}; {taken} was taken")
        numbers = reward[k, b].item(), discount[k, b].item()
        steps = episodes.check(obs[k, b, -1], *numbers, next_obs[k, b, -1], span)
        text = "the observations before the newest one in a stack are not those of its episode, or zeros"
        require_equal(obs[k, b], episodes.frames(t, at, stack), f"obs of a sample: {text}")
        before = episodes.frames(t + steps - 1, at, stack)
        require_equal(next_obs[k, b, :-1], before[1:], f"next_obs of a sample: {text}")
