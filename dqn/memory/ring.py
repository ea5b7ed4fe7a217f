"""The rows of all seeds, with each observation stored once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dqn.memory.windows import Windows
from dqn.state import assign
from dqn.types import Array, Bools, EnvSpec, Integers, Row

CONTINUES, TRUNCATED, TERMINATED, LOST, CLOSING = range(5)
"""Values of `end`: the episode continues or ended there, or a life was lost, which terminates only what is
learned; a CLOSING row only holds a last observation."""

HAS_FUTURE = np.array([end not in (TERMINATED, LOST) for end in range(CLOSING + 1)], np.float64)
"""For each `end` of a row, 1 where the value of the next observation counts."""

STORED_ONCE = ("obs", "action", "reward", "end")
"""Arrays whose rows never change until they are overwritten; so does `mask`, if the ring has one."""
COUNTERS = ("stored", "episodes", "episode_start")


class Ring:
    """K * E columns, one for each environment of each seed: rings of rows with separate write heads.

    Row i holds obs, action and reward of a step; its next observation is the `obs` of row i + 1. The row
    after the newest one already holds that observation, so the newest transition can be sampled at once.
    Where an episode ends, that row remains as its closing row; otherwise the next step completes it.

    `is_start` marks the rows where a sample may start: those with `span` stored steps of their episode, or
    life, from there on, or fewer if it has ended. Rows whose earlier frames have been overwritten are none.

    Samples that are windows of an episode, for recurrent networks, start at its first row and at every
    `period` rows, of which row `burn_in` is one. They extend across lost lives, since the network's memory
    does, too.

    Args:
        capacity: rows per seed; each environment has capacity // num_envs of them.
        span: largest number of transitions in a sample.
        windows: how windows lie in an episode; None: samples are not windows.
        num_seeds: K.
        num_envs: E.
        spec: shape and type of an observation, number of actions.
    """

    def __init__(
        self,
        *,
        capacity: int,
        span: int,
        num_seeds: int,
        num_envs: int,
        spec: EnvSpec,
        windows: Windows | None = None,
    ) -> None:
        self.num_seeds, self.num_envs, self.span, self.windows = num_seeds, num_envs, span, windows
        self.num_actions, self.num_categories = spec.num_actions, spec.obs.num_categories
        self.stack, self.padding = spec.obs.stack, spec.obs.padding
        self.rows = capacity // num_envs
        columns = num_seeds * num_envs
        total = columns * self.rows
        self.obs = np.zeros((total, *spec.obs.shape), spec.obs.dtype)
        self.action = np.zeros(total, np.min_scalar_type(spec.num_actions - 1))
        self.reward = np.zeros(total, np.float32)
        self.mask = np.ones((total, spec.num_actions), np.bool_) if spec.has_mask else None
        self.end = np.full(total, CLOSING, np.uint8)  # no stack of frames extends to rows never written
        self.is_start = np.zeros(total, np.bool_)
        self.stored = np.zeros(columns, np.int64)
        """Transitions ever stored in each column [K * E]."""
        self.episodes = np.zeros(columns, np.int64)
        """Episodes that have ended in each column [K * E]; each has a closing row."""
        self.episode_start = np.zeros(columns, np.int64)
        """Value of `stored` at the start of each column's current episode, or life [K * E]."""
        self.filled = np.zeros(columns, np.int64)
        """Rows in use in each column [K * E]."""
        self.most_filled = np.zeros((num_seeds, 1), np.int64)
        """Rows in use in each seed's fullest column [K, 1]."""
        self._first = np.arange(columns) * self.rows
        self.carries = None if windows is None else windows.carries(columns, self.rows)
        """The carries that are stored for windows; None: windows start with zeros."""
        self._context = context_rows(spec.obs.stack, windows)

    def push(self, steps: Sequence[Row]) -> list[Integers]:
        """Store successive steps of all active columns, and a closing row wherever an episode ended.

        Args:
            steps: at most `longest_push` steps.

        Returns:
            All rows that became starts or no longer are, possibly more than once.
        """
        fields: Any = (None if arrays[0] is None else joined(arrays) for arrays in zip(*steps, strict=True))
        row = Row(*fields)
        active, closes = row.active, row.terminated | row.truncated
        ended = closes if self.windows else closes | row.life_lost
        any_ended = np.count_nonzero(ended) > 0
        transitions = self.stored + active.cumsum(0)  # [T, K * E], as below: counts after each step
        episodes, starts = self.episodes[None], self.episode_start[None]
        position = transitions + (episodes - 1)
        if any_ended:
            episodes = episodes + closes.cumsum(0)
            starts = np.maximum.accumulate(np.vstack((starts, np.where(ended, transitions, 0))))
            position = transitions + (episodes - closes - 1)
        if self.carries is not None:
            self.carries.push(row.carry, transitions - starts[: len(transitions)] - 1, position, active)
        position %= self.rows
        everywhere = np.count_nonzero(active) == active.size

        def chosen(array: Array) -> Array:
            """Return the rows [N, ...] of the active columns in `array` [T, K * E, ...]."""
            return array.reshape(-1, *array.shape[2:]) if everywhere else array[active]

        at = chosen(self._first + position)
        following = self.after(at)
        self.obs[at], self.obs[following] = chosen(row.obs), chosen(row.next_obs)
        if self.mask is not None:
            assert row.mask is not None
            assert row.next_mask is not None
            self.mask[at], self.mask[following] = chosen(row.mask), chosen(row.next_mask)
        self.action[at], self.reward[at], self.end[at] = chosen(row.action), chosen(row.reward), CONTINUES
        self.is_start[at] = self.is_start[following] = False
        length = chosen(transitions - starts[: len(transitions)])
        started = [at if self.span == 1 else self.before(at, self.span - 1)[self._starts(length - self.span)]]
        self.end[at[chosen(row.life_lost)]] = LOST
        if any_ended:
            where, closed = chosen(ended), chosen(closes)
            is_terminal = row.terminated | row.life_lost
            self.end[at[closed]] = np.where(is_terminal[closes], TERMINATED, TRUNCATED)
            self.end[following[closed]] = CLOSING
            started += self._last_starts(at[where], length[where])
        for rows in started:
            self.is_start[rows] = True
        self.stored, self.episodes, self.episode_start = transitions[-1], episodes[-1], starts[-1]
        self._count()
        changed = [at, following, *started]
        if self._context:
            changed.append(self._without_context())
            self.is_start[changed[-1]] = False
        return changed

    @property
    def longest_push(self) -> int:
        """Return the largest number of steps of a `push` that overwrites none of the rows it needs."""
        least = least_rows(span=self.span, stack=self.stack, windows=self.windows)
        return max(1, (self.rows - least) // 2 + 1)

    def _last_starts(self, at: Integers, length: Integers) -> list[Integers]:
        """Return the rows that become starts because an episode or a life ended at the rows `at`."""
        return [self.before(at, back)[self._starts(length - 1 - back)] for back in range(self.span - 1)]

    def _starts(self, distance: Integers) -> Bools:
        """Return where a sample may start, given the distances from the first row of the episode or life."""
        return distance >= 0 if self.windows is None else self.windows.start(distance)

    def _count(self) -> None:
        self.filled = np.minimum(self.written, self.rows)
        self.most_filled = self.filled.reshape(self.num_seeds, -1).max(-1, keepdims=True)

    def _without_context(self) -> Integers:
        """Return the oldest rows of each column: some of the rows that their samples need are overwritten."""
        newest = self.newest
        rows = self._first[:, None] + (newest[:, None] + np.arange(1, self._context + 1)) % self.rows
        return rows.reshape(-1)

    @property
    def newest(self) -> Integers:
        """Return the row of each column's newest observation [K * E]."""
        row = self._first + self.written % self.rows
        last = self.before(row, 1)
        return np.where(self.end.take(last) == CLOSING, last, row)

    def frames(self, row: Integers, count: int) -> tuple[Integers, Bools]:
        """Return the rows [*, count] of the latest frames at `row` [*], and which of them exist.

        Frames before an episode's first do not exist.
        """
        position = row % self.rows
        places = (row - position)[..., None] + (position[..., None] + np.arange(1 - count, 1)) % self.rows
        exists = np.ones(places.shape, np.bool_)
        continues = self.end.take(places[..., :-1]) != CLOSING
        np.logical_and.accumulate(continues[..., ::-1], -1, out=exists[..., -2::-1])
        return places, exists

    def latest(self, row: Integers, count: int) -> Array:
        """Return the latest frames [*, count, ...] at `row` [*], padding before the first of the episode."""
        places, exists = self.frames(row, count)
        frames = self.obs.take(places, axis=0)
        if not exists.all():
            frames[~exists] = self.padding
        return frames

    def observations(self, row: Integers) -> Array:
        """Return the observations [*, ...] at `row` [*] as the network reads them."""
        return self.obs.take(row, axis=0) if self.stack == 1 else self.latest(row, self.stack)

    def after(self, row: Integers) -> Integers:
        """Return the rows after `row`."""
        following = row + 1
        wraps = following % self.rows == 0
        if np.count_nonzero(wraps):
            following[wraps] -= self.rows
        return following

    def before(self, row: Integers, distance: int) -> Integers:
        """Return the rows `distance` rows before `row`."""
        position = row % self.rows
        return row + ((position - distance) % self.rows - position)

    @property
    def written(self) -> Integers:
        """Return the number of rows ever written in each column [K * E], including closing rows."""
        return self.stored + self.episodes

    @property
    def stored_once(self) -> tuple[str, ...]:
        """Return the names of this ring's arrays whose rows never change until they are overwritten."""
        return STORED_ONCE if self.mask is None else (*STORED_ONCE, "mask")

    @property
    def bytes_per_row(self) -> int:
        """Return the size of a row in the arrays `stored_once`."""
        total: int = sum(getattr(self, name).nbytes for name in self.stored_once)
        return total // self.end.size

    def by_column(self, name: str) -> Array:
        """Return a view [K * E, rows, ...] of the array with this name."""
        array: Array = getattr(self, name)
        return array.reshape(-1, self.rows, *array.shape[1:])

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and `is_start`, packed into bits; `Segments` stores the rows."""
        state: dict[str, Any] = {name: getattr(self, name).copy() for name in COUNTERS}
        if self.carries is not None:
            state["carries"] = self.carries.stored.copy()
        return state | {"is_start": np.packbits(self.is_start)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in COUNTERS:
            assign(getattr(self, name), state[name], least=0)
        self._count()
        if self.carries is not None:
            assign(self.carries.stored, state["carries"])
        packed = np.packbits(self.is_start)
        assign(packed, state["is_start"])
        self.is_start[:] = np.unpackbits(packed)[: self.is_start.size]
        starts = self.by_column("is_start")
        if (starts & (np.arange(self.rows) >= self.filled[:, None])).any():
            raise ValueError("samples start at rows that nothing was stored in")
        full = self.stored.reshape(self.num_seeds, -1).sum(-1) > (self.span - 1) * self.num_envs
        if (full & ~starts.reshape(self.num_seeds, -1).any(-1)).any():
            raise ValueError("a seed has no row where a sample starts")

    def check_rows(self) -> None:
        """Raise ValueError if the arrays `stored_once` have values that no step has."""
        if self.action.max(initial=0) >= self.num_actions or self.end.max(initial=0) > CLOSING:
            raise ValueError("it has actions beyond the environment's")
        if not np.isfinite(self.reward).all():
            raise ValueError("it has rewards that are not finite")
        if self.mask is not None and not (self.mask.any(-1).all() and self.mask.view(np.uint8).max() <= 1):
            raise ValueError("it has masks without a valid action")
        if self.num_categories and not 0 <= self.obs.min() <= self.obs.max() < self.num_categories:
            raise ValueError("it has observations beyond the environment's")


def context_rows(stack: int, windows: Windows | None) -> int:
    """Return the rows before a start that its sample needs, if the episode has them."""
    return (
        stack - 1 + (0 if windows is None else windows.burn_in + 1)
    )  # the previous action is one row earlier


def least_rows(*, span: int, stack: int, windows: Windows | None = None) -> int:
    """Return the rows of a column that never lacks a start, wherever episodes end.

    They are the last start of an episode with the rows that it needs before it, and those up to the end; the
    closing row, span - 1 steps of the next episode, and the row after them.
    """
    return span + 2 + context_rows(stack, windows) + (0 if windows is None else windows.period - 1)


def joined(arrays: Sequence[Array]) -> Array:
    """Return arrays [K, E, ...] of T successive steps as one array [T, K * E, ...]."""
    whole = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    return whole.reshape(len(arrays), -1, *arrays[0].shape[2:])
