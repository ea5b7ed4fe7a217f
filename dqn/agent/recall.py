"""The memory of a recurrent network in the episodes that are played."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from dqn.agent.rng import NumpyRng
from dqn.types import Array, Bools, Floats, Integers


class ForwardPass(Protocol):
    """Action values of observations, in NumPy arrays."""

    def __call__(self, obs: Array, rng: NumpyRng | None = None, memory: Sequence[Array] = ()) -> Any:
        """Return action values [K, E, A] of observations [K, E, ...]; without rng nothing is random.

        A recurrent network also returns its carry after these observations [K, E, C]. Its `memory` is the
        carry before them and, [K, E, A + 1], the previous action, one-hot, and reward, of size 0 if it does
        not see them; at the start of an episode all are zeros.
        """
        ...


class Recall:
    """The carry of a recurrent network in each environment, and the action and reward of the step before.

    Called, it is a `q_values` that remembers: each call is the next step of every environment.

    Args:
        forward: the forward pass of the network.
        carry_size: C.
        previous_size: A + 1; 0 if the network does not see the previous action and reward.
    """

    def __init__(self, forward: ForwardPass, *, carry_size: int, previous_size: int) -> None:
        self._forward, self._sizes = forward, (carry_size, previous_size)
        self.before: Floats | None = None
        """The carry before the latest step [K, E, C]."""
        self._carry: Floats | None = None
        self._previous: Floats | None = None
        self._starting: Bools | None = None

    def start(self, where: Bools) -> None:
        """Forget the episodes of the environments `where` [K, E] at the next step."""
        self._starting = where if self._starting is None else self._starting | where

    def __call__(self, obs: Array, rng: NumpyRng | None = None) -> Floats:
        """Return action values [K, E, A] of observations [K, E, ...]."""
        if self._carry is None or self._previous is None:
            self._carry, self._previous = (np.zeros((*obs.shape[:2], n), np.float32) for n in self._sizes)
        if self._starting is not None:
            for memory in (self._carry, self._previous):
                memory[self._starting] = 0.0
            self._starting = None
        self.before = self._carry
        values: Floats
        values, self._carry = self._forward(obs, rng, (self._carry, self._previous))
        return values

    def acted(self, action: Integers, reward: Floats) -> None:
        """Remember the actions [K, E] of the latest step and their rewards, as they are learned from."""
        if not self._sizes[1]:
            return
        self._previous = np.zeros((*action.shape, self._sizes[1]), np.float32)
        np.put_along_axis(self._previous, action[..., None], 1.0, -1)
        self._previous[..., -1] = reward
