"""Uniform sampling: every start is equally likely."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dqn.memory.ring import Ring
from dqn.seeding import get_states, set_states, stream
from dqn.types import Array, Floats, Integers


class Uniform:
    """Draws each start of a seed with equal probability, with replacement. Mnih et al. (2015).

    Rows that are not starts are rejected and drawn again. They are few: closing rows and, with n-step
    returns, the newest n - 1.
    """

    ROUNDS = 8
    """Rounds of rejection before the starts are listed, which takes longer than a round."""

    def __init__(self, *, ring: Ring, seeds: Sequence[int]) -> None:
        self.ring = ring
        self.streams = [stream(seed, "sampling") for seed in seeds]
        self._first = np.arange(len(seeds))[:, None] * ring.num_envs * ring.rows
        self._weights: Floats = np.ones((len(seeds), 0), np.float32)

    def sample(self, batch_size: int) -> tuple[Integers, Floats]:
        """Return rows where samples start [K, B] and weights 1 [K, B]; each seed must have a start."""
        ring = self.ring
        uniform = np.empty((len(self.streams), batch_size))
        for numbers, generator in zip(uniform, self.streams, strict=True):
            generator.random(out=numbers)
        row = self._row(uniform, ring.most_filled, self._first)
        rejected = np.flatnonzero(~ring.is_start.take(row))
        if rejected.size:
            self._redraw(row, rejected)
        if self._weights.shape != row.shape:
            self._weights = np.ones(row.shape, np.float32)
        return row, self._weights

    def update(self, row: Integers, priority: Floats) -> None:
        """Ignore priorities: all starts stay equally likely."""

    def changed(self, rows: Sequence[Integers]) -> None:
        """Ignore changes: the ring marks its starts."""

    def _row(self, uniform: Array, filled: Array, first: Array) -> Integers:
        """Return rows for numbers in [0, 1), spread over the first `filled` rows of each environment."""
        num_envs = self.ring.num_envs
        total = filled if num_envs == 1 else filled * num_envs
        row: Integers = (uniform * total).astype(np.int64)
        if num_envs > 1:
            row += row // filled * (self.ring.rows - filled)
        row += first
        return row

    def _redraw(self, row: Integers, rejected: Integers) -> None:
        """Put starts into `row` [K, B] at the flat indices `rejected`; if starts are rare, from a list."""
        ring, streams = self.ring, self.streams
        flat, batch_size = row.reshape(-1), row.shape[1]
        seed = rejected // batch_size
        for _ in range(self.ROUNDS):
            counts = np.bincount(seed, minlength=len(streams)).tolist()
            uniform = [generator.random(n) for generator, n in zip(streams, counts, strict=True)]
            drawn = self._row(np.concatenate(uniform), ring.most_filled[seed, 0], self._first[seed, 0])
            wrong = ~ring.is_start.take(drawn)
            if not np.count_nonzero(wrong):
                flat[rejected] = drawn
                return
            order = np.argsort(2 * seed + wrong, kind="stable")  # each seed's starts in the order drawn
            flat[rejected], wrong = drawn[order], wrong[order]
            rejected, seed = rejected[wrong], seed[wrong]
        for k in np.unique(seed).tolist():
            first, where = int(self._first[k, 0]), rejected[seed == k]
            starts = first + np.flatnonzero(ring.is_start[first : first + ring.num_envs * ring.rows])
            flat[where] = starts[(streams[k].random(where.size) * starts.size).astype(np.int64)]

    def state_dict(self) -> dict[str, Any]:
        return {"streams": get_states(self.streams)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        set_states(self.streams, state["streams"])
