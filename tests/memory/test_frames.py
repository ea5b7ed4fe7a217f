"""Frames are stored once: what memory returns is what a memory of whole stacks would, for every row.

So are masks, here a function of the frame.
"""

from functools import partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
import torch
from envs import make_environments
from gymnasium import spaces

from dqn.agent import Actor
from dqn.memory import NStep, ReplayMemory, Ring, Uniform
from dqn.memory.ring import least_rows
from dqn.runner.clock import whole_rounds
from dqn.runner.collector import Collector
from dqn.types import FEED_FORWARD, EnvSpec, Integers, ObsSpec, Row

GAMMA = 0.9


def mask_of(frame: Any) -> Any:
    """Return the valid ones of five actions at each frame [*, 5]."""
    return np.arange(1, 6) * np.asarray(frame)[..., None] % 3 != 1


class Step(NamedTuple):
    index: int  # of its frame, counted from the first that the column stored
    obs: list[int]
    action: int
    reward: float
    next_obs: list[int]
    terminal: bool
    last: bool


class Column:
    """The naive twin: one environment's steps with whole stacks, kept forever."""

    def __init__(self, *, stack: int, n_step: int, rows: int) -> None:
        self.stack, self.n_step, self.rows = stack, n_step, rows
        self.steps: list[Step] = []
        self.stacks: list[list[int]] = []
        """The stack at each frame that was stored."""
        self.episode: list[int] = []

    def stacked(self, frames: list[int]) -> list[int]:
        return ([0] * self.stack + frames)[-self.stack :]

    def step(self, frame: int, action: int, reward: float, following: int, *, terminal: bool, last: bool):
        self.episode.append(frame)
        obs, next_obs = self.stacked(self.episode), self.stacked([*self.episode, following])
        self.steps.append(Step(len(self.stacks), obs, action, reward, next_obs, terminal, terminal or last))
        self.stacks.append(obs)
        self.newest = [*self.stacks, next_obs]
        if last:
            self.stacks.append(next_obs)
            self.episode = []

    def oldest_whole(self) -> int:
        """Return the index of the oldest frame that the ring still has together with the earlier ones."""
        return max(0, len(self.newest) - self.rows + self.stack - 1)

    def samples(self) -> dict[int, tuple[Any, ...]]:
        """Return the sample that starts at each row."""
        found = {}
        for i, first in enumerate(self.steps):
            if first.index < self.oldest_whole():
                continue
            chain = self.steps[i : i + self.n_step]
            ends = [step.last for step in chain]
            chain = chain[: ends.index(True) + 1] if True in ends else chain
            if len(chain) < self.n_step and not chain[-1].last:
                continue
            total = sum(GAMMA**i * step.reward for i, step in enumerate(chain))
            discount = 0.0 if chain[-1].terminal else GAMMA ** len(chain)
            found[first.index % self.rows] = (first.obs, first.action, total, discount, chain[-1].next_obs)
        return found


class Everything:
    """A sampler that draws all starts, and learns of them from `changed` alone."""

    def __init__(self, *, ring: Ring, seeds: Any) -> None:
        self.ring, self.known = ring, np.zeros_like(ring.is_start)

    def changed(self, rows: list[Integers]) -> None:
        for row in rows:
            self.known[row] = self.ring.is_start[row]

    def sample(self, batch_size: int) -> Any:
        starts = self.known.reshape(self.ring.num_seeds, -1)
        row = [np.resize(np.flatnonzero(mine) + k * mine.size, batch_size) for k, mine in enumerate(starts)]
        return np.stack(row), np.ones((len(row), batch_size), np.float32)


class Play:
    """Random episodes in all columns, of frames that are all different, with ends, lost lives and waits."""

    def __init__(self, memory: ReplayMemory, columns: list[list[Column]], random: np.random.Generator):
        self.memory, self.columns, self.random = memory, columns, random
        self.shape = len(columns), len(columns[0])
        self.frame = 1 + np.arange(self.shape[0] * self.shape[1]).reshape(self.shape)
        self.waiting = np.zeros(self.shape, np.bool_)

    def step(self, *, cut: bool) -> None:
        random, shape, active = self.random, self.shape, ~self.waiting
        terminated = active & (random.random(shape) < 0.08)
        truncated = active & ~terminated & (cut | (random.random(shape) < 0.05))
        lost = active & (random.random(shape) < 0.1)
        action, reward = random.integers(0, 5, shape), random.random(shape, np.float32)
        following = np.where(active, self.frame + self.frame.size, self.frame)
        obs, next_obs = (np.stack((each, -each), -1).astype(np.int32) for each in (self.frame, following))
        masks = {}
        if self.memory.ring.mask is not None:
            masks = {"mask": mask_of(self.frame), "next_mask": mask_of(following)}
        self.memory.push(Row(obs, action, reward, next_obs, terminated, truncated, lost, active, **masks))
        ended = terminated | truncated
        for k, e in np.argwhere(active):
            terminal = bool(terminated[k, e] | lost[k, e])
            step = int(self.frame[k, e]), int(action[k, e]), float(reward[k, e]), int(following[k, e])
            self.columns[k][e].step(*step, terminal=terminal, last=bool(ended[k, e]))
        self.waiting = ended | (self.waiting & (random.random(shape) < 0.7))
        if cut:
            self.waiting[:] = False
        self.frame = following + np.where(ended | ~active, self.frame.size, 0)


def made(case: int) -> tuple[Play, int]:
    """Return the play of a random memory, and how many rows a column has."""
    random = np.random.default_rng(case)
    n_step, stack = 1 + case % 5, 1 + case // 5 % 4
    num_seeds, num_envs = random.integers(1, 4, 2).tolist()
    rows = least_rows(span=n_step, stack=stack) + int(random.choice([0, 1, 2, 9, 30]))
    memory = ReplayMemory(
        capacity=rows * num_envs,
        reader=partial(NStep, n_step=n_step),
        sampler=Everything,
        gamma=GAMMA,
        spec=EnvSpec(ObsSpec((2,), np.dtype(np.int32), 0, 1.0, stack), 5, None, has_mask=case % 3 > 0),
        seeds=range(num_seeds),
        num_envs=num_envs,
        device=torch.device("cpu"),
        network=FEED_FORWARD,
    )
    columns = [
        [Column(stack=stack, n_step=n_step, rows=rows) for _ in range(num_envs)] for _ in range(num_seeds)
    ]
    return Play(memory, columns, random), rows


@pytest.mark.parametrize("case", range(20))
def test_what_memory_returns_is_what_acted(case):
    play, rows = made(case)
    memory = play.memory
    checks = 0
    for _ in range(80):
        play.step(cut=play.random.random() < 0.03)
        if play.random.random() < 0.2:
            check(memory, play.columns, rows)
            checks += 1
    assert checks > 5


def check(memory: ReplayMemory, columns: list[list[Column]], rows: int) -> None:
    ring = memory.ring
    np.testing.assert_array_equal(memory.sampler.known, ring.is_start)
    for k, mine in enumerate(columns):
        expected = {
            (e * rows + row): sample for e, one in enumerate(mine) for row, sample in one.samples().items()
        }
        starts = np.flatnonzero(ring.is_start.reshape(ring.num_seeds, -1)[k])
        assert starts.tolist() == sorted(expected)
        assert starts.size or len(mine[0].steps) < ring.span
        if starts.size:
            compare(memory.sample(starts.size), k, [expected[row] for row in starts.tolist()])
        seen = memory.observations(9)[k].reshape(9, ring.stack, 2)[..., 0].tolist()
        assert all(obs in mine[0].newest[mine[0].oldest_whole() :] for obs in seen)


def compare(sample: Any, k: int, expected: list[tuple[Any, ...]]) -> None:
    obs, action, total, discount, next_obs = (np.array(field) for field in zip(*expected, strict=True))
    batch = [each[k].numpy() for each in sample.batch.tensors()]
    for frames, stacks in ((batch[0], obs), (batch[4], next_obs)):
        both = np.stack((stacks, -stacks), -1).reshape(frames.shape)
        np.testing.assert_array_equal(frames, both)
    np.testing.assert_array_equal(batch[1], action)
    np.testing.assert_allclose(batch[2], total, rtol=1e-6)
    np.testing.assert_allclose(batch[3], discount, rtol=1e-6)
    for mask, stacks in zip(batch[5:], (obs, next_obs), strict=False):
        np.testing.assert_array_equal(mask, mask_of(stacks[:, -1]))


class Lives(gymnasium.Env):
    """Episodes of 1 to 7 steps, in which lives may be lost; no two observations are equal."""

    observation_space = spaces.Box(0, 255, (4,), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 8))
        return self.np_random.integers(1, 256, 4, np.uint8), {}

    def step(self, action: int) -> Any:
        self.left -= 1
        info = {"life_lost": self.np_random.random() < 0.2}
        return self.np_random.integers(1, 256, 4, np.uint8), 1.0, self.left == 0, False, info


gymnasium.register("Lives-v0", Lives)


@pytest.mark.parametrize(
    "ticks", [lambda waiting: waiting.shape[1], whole_rounds], ids=["clock of steps", "clock of episodes"]
)
def test_the_network_learns_from_the_stacks_that_it_acted_on(ticks):
    """Of all parts together, in two iterations, each of which the last of the ticks cuts."""
    env = make_environments("Lives-v0", frame_stack=3, seeds=[0, 1], life_loss_is_terminal=True)
    memory = ReplayMemory(
        capacity=2000,
        reader=partial(NStep, n_step=1),
        sampler=Uniform,
        gamma=GAMMA,
        spec=env.spec,
        seeds=[0, 1],
        num_envs=2,
        device=torch.device("cpu"),
        network=FEED_FORWARD,
    )
    acted: list[list[Any]] = [[] for _ in range(4)]
    seen: list[Any] = []

    def q_values(obs: Any, rng: Any) -> Any:
        seen.append(obs.copy())
        return obs[..., -1, :2] * 1.0  # the action depends on the observation

    actor = Actor(q_values=q_values, num_actions=2, stack=3, padding=0, exploration=None, noise=None)
    collector = Collector(env=env, actor=actor, ticks=ticks)
    lost = 0
    for iteration in range(2):
        collector.start(iteration)
        left = 24
        while left:
            step = collector.collect(0.0, left)
            left -= step.ticks
            memory.push(step.row)
            lost += np.count_nonzero(step.row.life_lost)
            for k, e in np.argwhere(step.row.active):
                acted[2 * k + e].append(seen[-1][k, e])
    env.close()
    ring = memory.ring
    for column, stacks in enumerate(acted):
        rows = column * ring.rows + np.flatnonzero(ring.by_column("is_start")[column])
        assert len(rows) == len(stacks) > 12
        np.testing.assert_array_equal(ring.observations(rows), stacks)
    discount = NStep(n_step=1, gamma=GAMMA)(ring, np.flatnonzero(ring.is_start)[None]).discount
    assert lost > 5
    assert np.count_nonzero(discount == 0) > lost
