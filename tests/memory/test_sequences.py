"""Windows are those of a twin that keeps whole episodes in lists."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from dqn.memory import ReplayMemory, Ring, Sequences
from dqn.memory.ring import context_rows, least_rows
from dqn.memory.windows import Windows
from dqn.types import EnvSpec, Integers, NetworkSpec, ObsSpec, Row

GAMMA, ACTIONS, CARRY = 0.9, 3, 2


class Case(NamedTuple):
    """Settings of a memory of windows."""

    length: int
    period: int
    burn_in: int
    stored_state: bool
    n_step: int
    stack: int
    num_seeds: int
    num_envs: int
    more_rows: int
    """Rows of a column beyond the fewest."""


CASES = [
    Case(*(1, 1, 0), True, 1, 1, 1, 1, 0),
    Case(*(4, 4, 0), True, 1, 1, 2, 2, 0),
    Case(*(4, 2, 0), False, 2, 1, 1, 2, 3),
    Case(*(3, 1, 2), True, 3, 1, 2, 1, 0),
    Case(*(5, 3, 4), True, 4, 2, 1, 1, 1),  # windows start before a whole burn-in, too
    Case(*(4, 2, 5), True, 1, 3, 3, 1, 7),
    Case(*(4, 4, 8), False, 4, 1, 1, 2, 0),
    Case(*(2, 2, 1), True, 2, 4, 3, 2, 2),
    Case(*(6, 5, 3), True, 3, 1, 1, 1, 40),
]


@dataclass
class Episode:
    """One episode, and the number of rows of its column that were written before it."""

    before: int
    obs: list[float]
    mask: list[Any]
    action: list[int] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    lost: list[bool] = field(default_factory=list)
    end: str | None = None

    def stacked(self, t: int, stack: int) -> list[float]:
        frames = [self.obs[i] if i >= 0 else 0.0 for i in range(t - stack + 1, t + 1)]
        return frames if stack > 1 else frames[0]

    def carry(self, t: int) -> list[float]:
        """Return the carry before the step t, which names the observation there."""
        return [self.obs[t], -self.obs[t]] if t > 0 else [0.0, 0.0]

    def previous(self, t: int) -> list[float]:
        seen = [0.0] * (ACTIONS + 1)
        if t > 0:
            seen[self.action[t - 1]], seen[-1] = 1.0, self.reward[t - 1]
        return seen


class Play:
    """Random episodes in all columns; no two observations are alike."""

    def __init__(self, case: Case, seed: int) -> None:
        self.rng, self.case = np.random.default_rng(seed), case
        self.shape = case.num_seeds, case.num_envs
        self.count, self.steps = 0, 0
        self.columns: list[list[Episode]] = [[] for _ in range(case.num_seeds * case.num_envs)]
        self.lengths = [0] * len(self.columns)
        for column in range(len(self.columns)):
            self.start(column, 0)

    def start(self, column: int, before: int) -> None:
        self.lengths[column] = int(self.rng.integers(1, 3 * self.case.length + 1))
        self.columns[column].append(Episode(before, [self.new()], [self.valid()]))

    def new(self) -> float:
        self.count += 1
        return float(self.count)

    def valid(self) -> Any:
        mask = self.rng.random(ACTIONS) < 0.5
        mask[self.rng.integers(ACTIONS)] = True
        return mask.tolist()

    def step(self) -> Row:
        """Play a step of every column that does not wait; every 17th ends the iteration."""
        self.steps += 1
        active = self.rng.random(len(self.columns)) < 0.8
        fields: list[list[Any]] = [[] for _ in Row._fields]
        for column, plays in enumerate(active):
            episode = self.columns[column][-1]
            t = len(episode.action)
            action, reward = int(self.rng.integers(ACTIONS)), np.float32(self.rng.normal())
            following, mask = self.new(), self.valid()
            ends, terminates, lost = t + 1 == self.lengths[column], *(self.rng.random(2) < (0.5, 0.1))
            terminated = bool(ends and terminates)
            truncated = bool(not terminated and (ends or self.steps % 17 == 0))
            values = episode.obs[-1], action, reward, following, terminated and plays, truncated and plays
            values += lost and not ends, plays, [episode.obs[-1], -episode.obs[-1]], episode.mask[-1], mask
            for array, value in zip(fields, values, strict=True):
                array.append(value)
            if not plays:
                continue
            episode.action.append(action)
            episode.reward.append(float(reward))
            episode.lost.append(bool(lost and not ends))
            episode.obs.append(following)
            episode.mask.append(mask)
            if terminated or truncated:
                episode.end = "terminated" if terminated else "truncated"
                self.start(column, episode.before + t + 2)
        dtypes = {"obs": np.float32, "next_obs": np.float32, "reward": np.float32, "carry": np.float32}
        arrays = (np.array(a, dtypes.get(name)) for name, a in zip(Row._fields, fields, strict=True))
        return Row(*(array.reshape(*self.shape, *array.shape[1:]) for array in arrays))

    def starts(self, column: int, rows: int) -> dict[int, tuple[Episode, int]]:
        """Return the counts of the rows where windows start, with their episodes and steps."""
        case, (*past, current) = self.case, self.columns[column]
        newest = current.before + len(current.action)
        if past and not current.action:
            newest -= 1  # the closing row of the episode before
        overwritten = newest - rows + case.stack + case.burn_in  # or the rows before them are
        return {
            episode.before + t: (episode, t)
            for episode in self.columns[column]
            for t in range(len(episode.action))
            if t == 0 or (t - case.burn_in) % case.period == 0
            if episode.end or t + case.length <= len(episode.action)
            if episode.before + t > overwritten
        }


class Every:
    """A sampler that returns every start of each seed, some again if another seed has more."""

    def __init__(self, *, ring: Ring, seeds: Any) -> None:
        self.ring = ring
        self.updated: Any = None

    def sample(self, batch_size: int) -> tuple[Integers, Any]:
        each = [np.flatnonzero(part) for part in self.ring.is_start.reshape(self.ring.num_seeds, -1)]
        size = self.ring.rows * self.ring.num_envs
        start = [np.resize(rows + k * size, max(map(len, each))) for k, rows in enumerate(each)]
        return np.stack(start), np.ones((len(each), len(start[0])), np.float32)

    def update(self, row: Integers, priority: Any) -> None:
        self.updated = priority

    def changed(self, rows: Any) -> None:
        pass


def make_memory(case: Case) -> ReplayMemory:
    rows = least_rows(span=case.length, stack=case.stack, windows=windows_of(case)) + case.more_rows
    settings = case._asdict()
    reader = {key: settings[key] for key in ("length", "period", "burn_in", "stored_state", "n_step")}
    obs = ObsSpec((), np.dtype(np.float32), 0, 1.0, stack=case.stack)
    return ReplayMemory(
        capacity=rows * case.num_envs + case.num_envs - 1,
        reader=lambda gamma: Sequences(**reader, eta=0.7, gamma=gamma),
        sampler=Every,
        gamma=GAMMA,
        spec=EnvSpec(obs, ACTIONS, None, has_mask=True),
        seeds=range(case.num_seeds),
        num_envs=case.num_envs,
        device=torch.device("cpu"),
        network=NetworkSpec(carry_size=CARRY, sees_action=True),
    )


def windows_of(case: Case) -> Windows:
    return Windows(case.period, case.burn_in, CARRY * case.stored_state)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_windows(case):
    play, memory = Play(case, 0), make_memory(case)
    ring, tried = memory.ring, 0
    while play.steps < 6 * ring.rows + 30:
        for _ in range(int(play.rng.integers(1, ring.longest_push + 1))):
            memory.push(play.step())
        columns = [play.starts(column, ring.rows) for column in range(len(play.columns))]
        for column, (starts, marked) in enumerate(
            zip(columns, memory.ring.by_column("is_start"), strict=True)
        ):
            assert sorted(count % ring.rows for count in starts) == np.flatnonzero(marked).tolist()
            assert starts or (len(play.columns[column]) == 1 and ring.stored[column] < case.length)
        if any(not any(columns[k * case.num_envs :][: case.num_envs]) for k in range(case.num_seeds)):
            continue
        if play.rng.random() < 0.6:
            continue  # the checks below take longest
        sample = memory.sample(0)
        by_row = {
            column * ring.rows + count % ring.rows: start
            for column, starts in enumerate(columns)
            for count, start in starts.items()
        }
        check(case, sample, [[by_row[row] for row in rows] for rows in sample.row.tolist()])
        check_priorities(case, memory, sample)
        tried += 1
    assert tried > 5
    assert ring.written.min() > 2 * ring.rows


def check(case: Case, sample: Any, starts: list[list[tuple[Episode, int]]]) -> None:
    """Check every window of a sample, all given as arrays [K, T, B]."""
    batch, window = sample.batch, sample.batch.window
    batch_size = len(starts[0])
    steps = (case.num_seeds, case.length, batch_size)
    obs, previous, exists = (
        None if x is None else x.tolist() for x in (batch.obs, window.previous, window.exists)
    )
    following, share = (x.numpy().reshape(steps) for x in (window.following, window.share))
    fields = {name: getattr(batch, name).numpy() for name in ("action", "reward", "discount")}
    fields = {name: array.reshape(steps) for name, array in fields.items()}
    masks, next_masks = (x.numpy().reshape(*steps, ACTIONS).tolist() for x in (batch.mask, batch.next_mask))
    assert (window.carry is not None) == case.stored_state
    for k, in_seed in enumerate(starts):
        valid = np.zeros(steps[1:])
        for b, (episode, t) in enumerate(in_seed):
            count = min(case.length, len(episode.action) - t)
            valid[:count, b] = 1
            for j in range(-case.burn_in, case.length + 1):
                at, row = min(t + j, t + count), case.burn_in + j
                if j < 0:
                    assert exists[k][row][b] == (at >= 0)
                if at >= 0:
                    assert obs[k][row][b] == episode.stacked(at, case.stack)
                    assert previous[k][row][b] == episode.previous(at)
            if case.stored_state:
                assert window.carry[k, b].tolist() == episode.carry(max(0, t - case.burn_in))
            for j in range(count):
                total, discount, end = returns(case, episode, t, j)
                assert fields["action"][k, j, b] == episode.action[t + j]
                assert fields["reward"][k, j, b] == pytest.approx(total, abs=1e-5)
                assert fields["discount"][k, j, b] == pytest.approx(discount, rel=1e-6)
                assert following[k, j, b] == end * batch_size + b
                assert masks[k][j][b] == episode.mask[t + j]
                assert next_masks[k][j][b] == episode.mask[t + end]
        np.testing.assert_allclose(share[k], valid / valid.mean(), rtol=1e-6)


def returns(case: Case, episode: Episode, t: int, j: int) -> tuple[float, float, int]:
    """Return reward sum, discount, and the window's step after it, of step j of the window from t."""
    total, discount = 0.0, 1.0
    for step in range(j, min(case.length, j + case.n_step)):
        total, discount = total + discount * episode.reward[t + step], discount * GAMMA
        if episode.lost[t + step]:
            return total, 0.0, step + 1
        if t + step + 1 == len(episode.action) and episode.end:
            return total, discount if episode.end == "truncated" else 0.0, step + 1
    return total, discount, step + 1


def check_priorities(case: Case, memory: ReplayMemory, sample: Any) -> None:
    """Padding is not part of a window's priority."""
    share = sample.batch.window.share.numpy()
    error = np.where(share > 0, np.random.default_rng(0).random(share.shape), 1e6)
    memory.update_priorities(sample.row, error.astype(np.float32))
    shape = (len(error), case.length, -1)
    error, valid = error.reshape(shape), share.reshape(shape) > 0
    for k, b in np.ndindex(sample.row.shape):
        errors = error[k, valid[k, :, b], b]
        assert memory.sampler.updated[k, b] == pytest.approx(0.7 * errors.max() + 0.3 * errors.mean())


@pytest.mark.parametrize("case", CASES[1:], ids=str)
def test_one_row_fewer_may_lack_a_start(case):
    """In one episode of some length, and all but one of a window's steps of the next."""
    windows = windows_of(case)._replace(carry_size=0)
    least = least_rows(span=case.length, stack=case.stack, windows=windows)
    spec = EnvSpec(ObsSpec((), np.dtype(np.float32), 0, 1.0, stack=case.stack), ACTIONS, None)
    assert context_rows(case.stack, windows) == case.stack + case.burn_in
    for rows in (least, least - 1):
        lacks = False
        for first in range(rows, rows + case.period):
            ring = Ring(capacity=rows, span=case.length, num_seeds=1, num_envs=1, spec=spec, windows=windows)
            for t in range(first + case.length - 1):
                zero, no = np.zeros((1, 1)), np.zeros((1, 1), bool)
                ring.push([Row(zero, zero.astype(int), zero, zero, no, no | (t + 1 == first), no, ~no)])
            lacks |= not ring.is_start.any()
        assert lacks == (rows < least)
