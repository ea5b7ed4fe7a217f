"""A T-maze: turn at the end of a corridor where a sign at its start said, registered as TMaze-v0."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.types import Array, PositiveInt

NORTH, EAST, SOUTH, WEST = range(4)
SIGNS = {NORTH: (0.0, 1.0, 1.0), SOUTH: (1.0, 1.0, 0.0)}
"""The observation at the start, by the right turn."""
CORRIDOR, JUNCTION = (1.0, 0.0, 1.0), (0.0, 1.0, 0.0)
GOAL, PENALTY = 4.0, -0.1


class TMaze(gymnasium.Env[Array, Any]):
    """A corridor from a sign in the west to a junction in the east, `length` steps away.

    The actions are north, east, south and west. A turn to the north or south at the junction ends the episode
    with the reward 4 if the sign said so, else -0.1. A step against a wall has the reward -0.1, every other
    step 0. So the best return is 4, after length + 1 steps, and 1.95 without memory. This is the task of
    Bakker (2001, Reinforcement Learning with Long Short-Term Memory), whose three numbers are observed.

    Args:
        length: steps from the sign to the junction.
    """

    def __init__(self, *, length: PositiveInt) -> None:
        self._length = length
        self.observation_space = spaces.Box(0, 1, (3,), np.float32)
        self.action_space = spaces.Discrete(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._right = NORTH if self.np_random.integers(2) else SOUTH
        self._position = 0
        return self._sight(), {}

    def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        action = int(action)
        if self._position == self._length and action in SIGNS:
            return self._sight(), GOAL if action == self._right else PENALTY, True, False, {}
        before, move = self._position, (action == EAST) - (action == WEST)
        self._position = min(max(self._position + move, 0), self._length)
        return self._sight(), PENALTY if self._position == before else 0.0, False, False, {}

    def _sight(self) -> Array:
        """Return the present observation."""
        inside = JUNCTION if self._position == self._length else CORRIDOR
        return np.array(SIGNS[self._right] if self._position == 0 else inside, np.float32)


gymnasium.register("TMaze-v0", f"{__name__}:TMaze")
