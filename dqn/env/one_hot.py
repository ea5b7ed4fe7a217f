"""A wrapper for the grids of MiniGrid, whose codes become one-hot."""

from functools import cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.errors import brief
from dqn.types import Array

CODES = 3
"""Numbers of a cell in MiniGrid's images: object, colour, and state of a door or direction of the agent."""


@cache
def planes() -> tuple[Array, Array]:
    """Return the code and the value that each plane of a one-hot image shows."""
    from minigrid.core.constants import COLOR_TO_IDX, DIR_TO_VEC, OBJECT_TO_IDX  # of the extra minigrid

    counts = [len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(DIR_TO_VEC)]
    return np.repeat(np.arange(CODES), counts), np.concatenate([np.arange(count) for count in counts])


class OneHotGrid(gymnasium.ObservationWrapper[Array, int, dict[str, Any]]):
    """Observations are [width, height, planes]: 1 where a cell has a plane's object, colour or state.

    MiniGrid's image has a number for each of these and declares it as a byte up to 255, so a network would
    read "goal" as a slightly lighter "door". The direction, which is always up in the agent's own view, and
    the text of the mission are left out.

    Args:
        env: an environment with MiniGrid's observations, of any view.
    """

    def __init__(self, env: gymnasium.Env[dict[str, Any], int]) -> None:
        super().__init__(env)
        space = env.observation_space
        image = space.get("image") if isinstance(space, spaces.Dict) else None
        shape = (image.shape if image else None) or ()
        if len(shape) != 3 or shape[-1] != CODES:
            raise ValueError(f"it should have MiniGrid's observations, not {brief(space)}")
        self._codes, self._values = planes()
        self.observation_space = spaces.Box(0, 1, (*shape[:2], len(self._codes)), np.uint8)

    def observation(self, observation: dict[str, Any]) -> Array:
        hot: Array = observation["image"][..., self._codes] == self._values
        return hot.view(np.uint8)
