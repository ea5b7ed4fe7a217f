"""MiniGrid's environments (`env=minigrid env.id=MiniGrid-DoorKey-5x5-v0`), whose codes become one-hot."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.types import Array

try:
    from minigrid.core.constants import COLOR_TO_IDX, DIR_TO_VEC, OBJECT_TO_IDX
except ImportError as error:
    raise gymnasium.error.DependencyNotInstalled(str(error)) from None

COUNTS = (len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(DIR_TO_VEC))
"""Numbers of objects, of colours, and of states: of a door, or directions where the agent is visible."""
CODE = np.repeat(np.arange(3), COUNTS)
VALUE = np.concatenate([np.arange(count) for count in COUNTS])
"""Each plane of a one-hot image shows where one code has one value."""


class OneHot(gymnasium.ObservationWrapper[Array, int, dict[str, Any]]):
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
        if len(shape) != 3 or shape[-1] != len(COUNTS):
            raise ValueError(f"it should have MiniGrid's observations, not {space}")
        self.observation_space = spaces.Box(0, 1, (*shape[:2], len(CODE)), np.uint8)

    def observation(self, observation: dict[str, Any]) -> Array:
        return np.equal(observation["image"][..., CODE], VALUE).view(np.uint8)
