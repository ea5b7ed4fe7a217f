"""The rows of all seeds, each observation kept once."""

from typing import Any

import numpy as np

from dqn.types import Array, Bools, EnvSpec, Integers, Row

GOES_ON, TRUNCATED, TERMINATED, CLOSING = range(4)
"""A row's `end`: its episode goes on, or ended with it; CLOSING: the row only holds a last observation."""

ARRAYS = ("obs", "action", "reward", "end", "is_start")
COUNTERS = ("stored", "episodes", "begun")


class Ring:
    """K * E columns (one for each environment of each seed), each a ring of rows with its own write head.

    Row i holds obs, action and reward of a step; its next observation is the `obs` of row i + 1. The row
    after the newest one already holds that observation, so the newest transition can be sampled at once.
    Where an episode ends, that row stays as its closing row; otherwise the next step fills it.

    `is_start` marks the rows at which a sample may begin: those followed by `span` rows of one episode, or by
    its end.

    Args:
        capacity: rows per seed; each of its environments has capacity // num_envs of them.
        span: the most rows that a sample reads.
        num_seeds: K.
        num_envs: E.
        spec: shape and type of an observation, number of actions.
    """

    def __init__(self, *, capacity: int, span: int, num_seeds: int, num_envs: int, spec: EnvSpec) -> None:
        self.num_seeds, self.num_envs, self.span = num_seeds, num_envs, span
        self.rows = capacity // num_envs
        columns = num_seeds * num_envs
        total = columns * self.rows
        self.obs = np.zeros((total, *spec.obs.shape), spec.obs.dtype)
        self.action = np.zeros(total, np.min_scalar_type(spec.num_actions - 1))
        self.reward = np.zeros(total, np.float32)
        self.end = np.zeros(total, np.uint8)
        self.is_start = np.zeros(total, np.bool_)
        self.stored = np.zeros(columns, np.int64)
        """Transitions that each column has ever stored."""
        self.episodes = np.zeros(columns, np.int64)
        """Episodes of each column that have ended; each took one closing row."""
        self.begun = np.zeros(columns, np.int64)
        """What `stored` was when the present episode of each column began."""
        self._at, self._following = self._heads()

    def _heads(self) -> tuple[Integers, Integers]:
        """Return the places of the next row of each column and of the one after it."""
        first = np.arange(self.stored.size) * self.rows
        head = self.stored + self.episodes
        return first + head % self.rows, first + (head + 1) % self.rows

    def push(self, row: Row) -> None:
        """Store one step of every active column, and a closing row where an episode ended."""
        everywhere = np.count_nonzero(row.active) == row.active.size
        columns = slice(None) if everywhere else np.flatnonzero(row.active)
        at, following = self._at[columns], self._following[columns]
        shape = (-1, *self.obs.shape[1:])
        self.obs[at] = row.obs.reshape(shape)[columns]
        self.action[at] = row.action.ravel()[columns]
        self.reward[at] = row.reward.ravel()[columns]
        self.end[at] = GOES_ON
        self.obs[following] = row.next_obs.reshape(shape)[columns]
        self.is_start[following] = False
        self.stored[columns] += 1
        if self.span == 1:
            self.is_start[at] = True
        else:
            whole = self.stored[columns] - self.begun[columns] >= self.span
            self.is_start[self.before(at, self.span - 1)[whole]] = True
        ended = np.flatnonzero(row.terminated | row.truncated)
        if ended.size:
            self._close(ended, row.terminated.ravel())
        else:
            self._at[columns] = following
            self._following[columns] = self.after(following)

    def _close(self, columns: Integers, terminated: Bools) -> None:
        """Mark the ends of episodes; the tails shorter than `span` become starts."""
        at, following = self._at[columns], self._following[columns]
        self.end[at] = np.where(terminated[columns], TERMINATED, TRUNCATED)
        self.end[following] = CLOSING
        length = self.stored[columns] - self.begun[columns]
        for back in range(self.span - 1):
            self.is_start[self.before(at, back)[back < length]] = True
        self.episodes[columns] += 1
        self.begun[columns] = self.stored[columns]
        self._at, self._following = self._heads()
        self.is_start[self._at[columns]] = False

    @property
    def filled(self) -> Integers:
        """Return how many rows of each column have been written [K * E]."""
        filled: Integers = np.minimum(self.stored + self.episodes, self.rows)
        return filled

    def after(self, place: Integers) -> Integers:
        """Return the places of the rows that follow those at `place`."""
        following = place + 1
        wraps = following % self.rows == 0
        if np.count_nonzero(wraps):
            following[wraps] -= self.rows
        return following

    def before(self, place: Integers, distance: int) -> Integers:
        """Return the places of the rows that lie `distance` rows before those at `place`."""
        position = place % self.rows
        return place + ((position - distance) % self.rows - position)

    @property
    def bytes_per_row(self) -> int:
        """Return the size of one row in all arrays."""
        total: int = sum(getattr(self, name).nbytes for name in ARRAYS)
        return total // self.end.size

    def state_dict(self) -> dict[str, Any]:
        """Return the rows written so far; the arrays are copies."""
        used = min(int(self.filled.max()) + 1, self.rows)
        state: dict[str, Any] = {name: getattr(self, name).copy() for name in COUNTERS}
        for name in ARRAYS:
            state[name] = self._by_column(name)[:, :used].copy()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in COUNTERS:
            getattr(self, name)[:] = np.asarray(state[name])
        for name in ARRAYS:
            stored = np.asarray(state[name])
            self._by_column(name)[:, : stored.shape[1]] = stored
        self._at, self._following = self._heads()

    def _by_column(self, name: str) -> Array:
        """Return a view [K * E, rows, ...] of an array."""
        array: Array = getattr(self, name)
        return array.reshape(-1, self.rows, *array.shape[1:])
