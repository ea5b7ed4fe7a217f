"""Images of codes as one-hot images."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.types import Array, PositiveInt


class OneHot(gymnasium.ObservationWrapper[Array, Any, Any]):
    """Observations are [width, height, planes]: 1 where a cell's code has the value of a plane.

    MiniGrid's images have three codes in each cell, for object, colour and state, and declare them as bytes
    up to 255: a network would read them as shades. The other parts of its observations are left out: the
    text of the mission, and the direction, because the agent's own view is turned to it.

    Args:
        env: an environment whose observations are images of codes, or a Dict with such an `image`.
        counts: number of values of each code.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], *, counts: Sequence[PositiveInt]) -> None:
        super().__init__(env)
        space = env.observation_space
        self._is_dict = isinstance(space, spaces.Dict)
        image = space.get("image") if isinstance(space, spaces.Dict) else space
        shape = (image.shape if image else None) or ()
        if len(shape) != 3 or shape[-1] != len(counts):
            raise ValueError(f"observations should have images of {len(counts)} codes; they are {space}")
        self._code = np.repeat(np.arange(len(counts)), counts)
        self._value = np.concatenate([np.arange(count) for count in counts])
        self.observation_space = spaces.Box(0, 1, (*shape[:2], sum(counts)), np.uint8)

    def observation(self, observation: Any) -> Array:
        image = observation["image"] if self._is_dict else observation
        return np.equal(image[..., self._code], self._value).view(np.uint8)
