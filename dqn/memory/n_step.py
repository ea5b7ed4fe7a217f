"""Readers: what a sample is, from the row where it starts."""

import numpy as np

from dqn.memory.protocols import Transitions
from dqn.memory.ring import GOES_ON, TERMINATED, Ring
from dqn.types import Floats, Integers, PositiveInt

HAS_FUTURE = np.array([end != TERMINATED for end in range(4)], np.float64)
"""For each `end` of a row, 1 where the row that follows has a value."""


class NStep:
    """The sum of up to n rewards and the state after them. Sutton (1988); Hessel et al. (2018), eq. 2.

    A sample of m <= n steps ends early where its episode does: its discount is gamma^m after a truncation
    (bootstrapped from the real last observation) and 0 after a termination.

    Args:
        n_step: n.
        gamma: discount of one step.
    """

    def __init__(self, *, n_step: PositiveInt, gamma: float) -> None:
        self.span = n_step
        self.gamma = gamma

    def __call__(self, ring: Ring, start: Integers) -> Transitions:
        """Read the samples that start at the rows `start` [K, B]."""
        last = start
        reward = ring.reward.take(start)
        discount: Floats | float = self.gamma
        for _ in range(self.span - 1):  # sums in float64
            goes_on = ring.end[last] == GOES_ON
            last = np.where(goes_on, ring.after(last), last)
            reward = reward + np.where(goes_on, discount * ring.reward[last].astype(np.float64), 0.0)
            discount = np.where(goes_on, discount * self.gamma, discount)
        discount = discount * HAS_FUTURE.take(ring.end.take(last))
        return Transitions(
            reward.astype(np.float32, copy=False), discount.astype(np.float32), ring.after(last)
        )
