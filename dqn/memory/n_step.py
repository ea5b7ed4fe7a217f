"""Readers: the sample that starts at a row."""

import numpy as np

from dqn.memory.protocols import Transitions
from dqn.memory.ring import CONTINUES, HAS_FUTURE, Ring
from dqn.types import Floats, Integers, PositiveInt


class NStep:
    """The discounted sum of n rewards and the state after them. Sutton (1988); Hessel et al. (2018), eq. 2.

    At the end of an episode a sample has only m < n steps. Its discount is gamma^m after a truncation, which
    bootstraps from the true last observation, and 0 after a termination or a lost life.

    Args:
        n_step: n.
        gamma: discount of one step.
    """

    def __init__(self, *, n_step: PositiveInt, gamma: float) -> None:
        self.span = n_step
        self.gamma = gamma

    def __call__(self, ring: Ring, start: Integers) -> Transitions:
        """Return the samples that start at the rows `start` [K, B]."""
        last = start
        reward = ring.reward.take(start)
        discount: Floats | float = self.gamma
        for _ in range(self.span - 1):  # sums in float64
            continues = ring.end[last] == CONTINUES
            last = np.where(continues, ring.after(last), last)
            reward = reward + np.where(continues, discount * ring.reward[last].astype(np.float64), 0.0)
            discount = np.where(continues, discount * self.gamma, discount)
        discount = discount * HAS_FUTURE.take(ring.end.take(last))
        return Transitions(
            reward.astype(np.float32, copy=False), discount.astype(np.float32), ring.after(last)
        )
