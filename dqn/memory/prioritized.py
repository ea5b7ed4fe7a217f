"""Prioritized sampling: transitions with larger TD errors are drawn more often."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dqn.memory.ring import Ring
from dqn.memory.sum_tree import Tree
from dqn.schedule import Schedule
from dqn.seeding import get_states, set_states, stream
from dqn.state import assign
from dqn.types import Array, Floats, Integers, Positive, Probability


class Prioritized:
    """Draws start i with P(i) = p_i^alpha / sum_j p_j^alpha. Schaul et al. (2015), proportional variant.

    The priority p_i is the magnitude of the latest TD error plus epsilon; a new start gets the largest
    priority that its seed has had so far, initially 1. The weight in the loss is
    w_i = (N P(i))^-beta / max_j w_j, from which N, the number of starts, and the sum of p^alpha cancel.

    Args:
        alpha: exponent of priorities; 0: all starts are equally likely.
        beta: schedule of the weights' exponent over the transitions that a seed has stored; at 1 weights
            fully correct the bias of sampling.
        epsilon: added to the magnitude of each TD error.
        max_weight: whether max_j is over the sampled "batch" of a seed or its whole "buffer".
        ring: the rows.
        seeds: the K seeds.
    """

    def __init__(
        self,
        *,
        alpha: Probability,
        beta: Schedule,
        epsilon: Positive,
        max_weight: Literal["batch", "buffer"],
        ring: Ring,
        seeds: Sequence[int],
    ) -> None:
        self.alpha, self.beta, self.epsilon = alpha, beta, epsilon
        self.ring = ring
        self.streams = [stream(seed, "sampling") for seed in seeds]
        self._size = ring.num_envs * ring.rows
        self.tree = Tree(ufunc=np.add, empty=0.0, num_seeds=len(seeds), size=self._size)
        """Sums of p^alpha; the leaf of a row that is not a start is 0."""
        self.minima = None
        if max_weight == "buffer":
            self.minima = Tree(ufunc=np.minimum, empty=np.inf, num_seeds=len(seeds), size=self._size)
        self.largest = np.ones(len(seeds))
        """Largest p^alpha that each seed has had [K]."""
        self._padding = self.tree.stride - self._size
        self._before = np.arange(len(seeds))[:, None] * self._padding  # leaf - row, [K, 1]

    def sample(self, batch_size: int) -> tuple[Integers, Floats]:
        """Return rows where samples start [K, B] and their weights [K, B]; each seed must have a start.

        Each of B equal ranges of the cumulated priorities gives one start (B.2.1).
        """
        fraction = np.empty((len(self.streams), batch_size))
        for numbers, generator in zip(fraction, self.streams, strict=True):
            generator.random(out=numbers)
        fraction += np.arange(batch_size)
        fraction /= batch_size
        leaf = self.tree.find(fraction)
        return leaf - self._before, self._weights(self.tree.levels[0][leaf])

    def _weights(self, priority: Floats) -> Floats:
        """Return the weights [K, B], float32, for p^alpha [K, B]."""
        least = priority.min(-1) if self.minima is None else self.minima.top.min(-1)
        stored = self.ring.stored.reshape(-1, self.ring.num_envs).sum(-1)
        beta = np.array([self.beta(count) for count in stored.tolist()])
        weights: Floats = ((priority / least[:, None]) ** -beta[:, None]).astype(np.float32)
        return weights

    def update(self, row: Integers, priority: Floats) -> None:
        """Set the priorities of the starts at `row` [K, B] by their TD errors [K, B].

        Of several errors of one start the last counts. A row that is no longer a start stays at 0.

        Raises:
            ValueError: a TD error is not finite; no priority was changed.
        """
        if not np.isfinite(priority).all():
            raise ValueError("priorities should be finite")
        raised = (np.abs(priority, dtype=np.float64) + self.epsilon) ** self.alpha
        self.largest = np.maximum(self.largest, raised.max(-1))
        self._set(row + self._before, np.where(self.ring.is_start[row], raised, 0.0))

    def changed(self, rows: Sequence[Integers]) -> None:
        """Set new starts to the largest priority and rows that are no longer starts to 0."""
        row = np.concatenate(rows)
        seed = row // self._size
        self._set(row + seed * self._padding, np.where(self.ring.is_start[row], self.largest[seed], 0.0))

    def _set(self, leaf: Integers, value: Floats) -> None:
        self.tree.set(leaf, value)
        if self.minima is not None:
            self.minima.set(leaf, np.where(value > 0.0, value, np.inf))

    def state_dict(self) -> dict[str, Any]:
        """Return the streams, the largest priorities and p^alpha of all written rows [K * E, rows]."""
        used = int(self.ring.filled.max())
        priorities = self.tree.leaves.reshape(-1, self.ring.rows)[:, :used].copy()
        return {
            "streams": get_states(self.streams),
            "largest": self.largest.copy(),
            "priorities": priorities,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        set_states(self.streams, state["streams"])
        assign(self.largest, state["largest"], least=0, most=np.finfo(np.float64).max)
        leaves: Array = np.zeros((self.ring.num_seeds * self.ring.num_envs, self.ring.rows))
        assign(leaves[:, : int(self.ring.filled.max())], state["priorities"], least=0, most=1e300)
        if ((leaves > 0) != self.ring.by_column("is_start")).any():
            raise ValueError("priorities of other rows than those where samples start")
        self.tree.leaves[:] = leaves.reshape(-1, self._size)
        self.tree.rebuild()
        if self.minima is not None:
            self.minima.leaves[:] = np.where(self.tree.leaves > 0.0, self.tree.leaves, np.inf)
            self.minima.rebuild()
