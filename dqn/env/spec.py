"""The facts about an environment that other parts need, from its spaces and its time limit."""

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from dqn.errors import WrongValue
from dqn.types import Array, Image, ObsSpec

Channels = Literal["auto", "first", "last"]


def obs_spec(
    space: spaces.Space[Any], id: str, *, scale_bytes: bool, stack: int, channels: Channels
) -> ObsSpec:
    """Return how observations of `space` are stored and read.

    Args:
        space: the space of one frame.
        id: name of the environment in errors.
        scale_bytes: whether bytes that span 0 to 255 are read divided by 255.
        stack: frames that are read together.
        channels: where an image of three axes has its channels; auto: as `image_of`.

    Raises:
        WrongValue: the network cannot read such observations.
    """
    if isinstance(space, spaces.Discrete):
        return ObsSpec((), np.min_scalar_type(int(space.n) - 1), int(space.n), 1.0, stack)
    if isinstance(space, spaces.MultiBinary):
        return ObsSpec(space.shape or (1,), np.dtype(np.int8), 0, 1.0, stack, image_of(space, channels))
    if not isinstance(space, spaces.Box) or space.dtype is None:
        should = "supported are Box, Discrete, MultiBinary, MultiDiscrete, and Dict and Tuple of these"
        raise WrongValue("env.id", id, f"its observations are {space}; {should}")
    scale = 1 / 255 if scale_bytes and spans_bytes(space) else 1.0
    return ObsSpec(space.shape or (1,), stored_dtype(space), 0, scale, stack, image_of(space, channels))


def image_of(space: spaces.Space[Any], channels: Channels) -> Image | None:
    """Return the image that an array of three axes is; auto: the shorter of its ends counts the channels."""
    shape = space.shape or ()
    if len(shape) != 3:
        return None
    return Image(shape, channels == "last" or (channels == "auto" and shape[-1] <= shape[0]), 0)


def spans_bytes(space: spaces.Space[Any]) -> bool:
    """Return whether a space is one of bytes up to 255, such as those of images."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and space.high.max(initial=0) == 255


def stored_dtype(space: spaces.Box) -> np.dtype[Any]:
    """Return the dtype of the space, but uint8 for zeros and ones and at most the network's float32."""
    is_integer = np.issubdtype(space.dtype, np.integer)
    if is_integer and space.low.min(initial=0) == 0 and space.high.max(initial=1) == 1:
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if space.dtype is None or space.dtype.itemsize > 4 else space.dtype


def time_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Return the steps after which an episode is truncated at the latest, None if there is no limit."""
    limits: list[int] = []
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, TimeLimit) and layer.spec and layer.spec.max_episode_steps is not None:
            limits.append(layer.spec.max_episode_steps)
        layer = layer.env
    if limits or env.spec is None:
        return min(limits, default=None)
    return env.spec.max_episode_steps


def bounds(space: spaces.Space[Any]) -> tuple[Any, Any]:
    """Return the least and the greatest numbers of a space of numbers."""
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    if isinstance(space, spaces.Box):
        return space.low, space.high
    return 0, 1  # MultiBinary


def numbers_of(value: Any) -> Array | None:
    """Return real numbers as an array; None for any other value."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    return array if array.dtype.kind in "biuf" else None
