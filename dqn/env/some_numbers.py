"""A wrapper that hides numbers of observations, such as velocities."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.errors import brief
from dqn.types import Array


class SomeNumbers(gymnasium.ObservationWrapper[Array, Any, Array]):
    """Observations are some of the environment's numbers: CartPole without velocities has [0, 2].

    Args:
        env: an environment whose observations are arrays of one axis, as Box.
        indices: which of the numbers are observed, in this order.
    """

    def __init__(self, env: gymnasium.Env[Array, Any], *, indices: Sequence[int]) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"it should have a Box of one axis, not {brief(space)}")
        size = space.shape[0]
        self._indices = list(indices)
        if not self._indices or not all(type(i) is int and 0 <= i < size for i in self._indices):
            raise ValueError(f"indices={self._indices} should be numbers from 0 to {size - 1}, at least one")
        low, high = space.low[self._indices], space.high[self._indices]
        self.observation_space = spaces.Box(low, high, dtype=np.dtype(space.dtype).type)

    def observation(self, observation: Array) -> Array:
        kept: Array = observation[self._indices]
        return kept
