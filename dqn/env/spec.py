"""The facts about an environment that other parts need, from its spaces and its time limit."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation, TimeLimit

from dqn.errors import WrongValue, brief
from dqn.types import Array, Image, ObsSpec

Channels = Literal["auto", "first", "last"]


def obs_spec(
    space: spaces.Space[Any], id: str, *, scale_bytes: bool, stack: int, image: Image | None
) -> ObsSpec:
    """Return how observations of `space` are stored and read.

    Args:
        space: the space of one frame, encoded.
        id: name of the environment in errors.
        scale_bytes: whether bytes that span 0 to 255 are read divided by 255.
        stack: frames that are read together.
        image: the image at the start of each frame.

    Raises:
        WrongValue: the network cannot read such observations.
    """
    if isinstance(space, spaces.Discrete):
        return ObsSpec((), np.min_scalar_type(int(space.n) - 1), int(space.n), 1.0, stack)
    if isinstance(space, spaces.MultiBinary):
        return ObsSpec(space.shape or (1,), np.dtype(np.int8), 0, 1.0, stack, image)
    if not isinstance(space, spaces.Box) or space.dtype is None:
        should = "supported are Box, Discrete, MultiBinary, MultiDiscrete, and Dict and Tuple of these"
        raise WrongValue("env.id", id, f"its observations are {brief(space)}; {should}{advice_on(space, id)}")
    scale = 1 / 255 if scale_bytes and spans_bytes(space) else 1.0
    return ObsSpec(space.shape or (1,), stored_dtype(space), 0, scale, stack, image)


def advice_on(space: spaces.Space[Any], id: str) -> str:
    """Return the end of a sentence: what leaves out the parts of observations that cannot be read."""
    if id.startswith(("MiniGrid-", "BabyAI-")):
        return f"; type env=minigrid env.id={id}, which leaves the text out"
    keys = (
        [key for key, part in space.items() if becomes_numbers(part)]
        if isinstance(space, spaces.Dict)
        else []
    )
    wrapper = f"{{_target_: gymnasium.wrappers.FilterObservation, filter_keys: [{', '.join(keys)}]}}"
    return f'; "env.wrappers=[{wrapper}]" keeps the parts that can be read' if keys else ""


def becomes_numbers(space: spaces.Space[Any]) -> bool:
    """Return whether observations of a space are numbers once flattened, which custom spaces may not say.

    The letters of a text are not, though Gymnasium numbers them.
    """
    try:
        return space.is_np_flattenable and not any(isinstance(part, spaces.Text) for part in parts_of(space))
    except NotImplementedError:
        return False


def parts_of(space: spaces.Space[Any]) -> Iterator[spaces.Space[Any]]:
    """Yield the parts of a composite space, in the order of its flattened observations."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for part in space.values() if isinstance(space, spaces.Dict) else space:
            yield from parts_of(part)
    else:
        yield space


def images_in(space: spaces.Space[Any]) -> list[tuple[spaces.Space[Any], int]]:
    """Return the parts that are images, the largest first, with their starts in flattened observations.

    An image is an array of three axes, or of two axes of bytes.
    """
    found, start = [], 0
    for part in parts_of(space):
        axes = len(part.shape or ()) if isinstance(part, spaces.Box | spaces.MultiBinary) else 0
        size = spaces.flatdim(part)
        if size and (axes == 3 or (axes == 2 and part.dtype == np.uint8)):
            found.append((part, start))
        start += size
    return sorted(found, key=lambda one: -spaces.flatdim(one[0]))


def image_of(space: spaces.Space[Any], channels: Channels) -> Image | None:
    """Return the image that observations start with once they are encoded, None if they have none.

    Of several it is the largest. auto: the channels are at the end that leaves the more square picture, at
    the last one in a tie.
    """
    if not becomes_numbers(space) or not (images := images_in(space)):
        return None
    image = images[0][0]
    shape = image.shape or ()
    is_last = channels == "last" or (channels == "auto" and squareness(shape[:2]) >= squareness(shape[1:]))
    rest = spaces.flatdim(space) - spaces.flatdim(image)
    return Image(shape, len(shape) == 3 and is_last, rest)


def squareness(size: Sequence[int]) -> float:
    """Return the shorter side of a picture relative to the longer one."""
    return min(size) / max(size)


def spans_bytes(space: spaces.Space[Any]) -> bool:
    """Return whether a space is one of bytes up to 255, such as those of images."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and space.high.max(initial=0) == 255


def stored_dtype(space: spaces.Box) -> np.dtype[Any]:
    """Return the dtype of the space, but uint8 for zeros and ones and at most the network's float32."""
    is_integer = np.issubdtype(space.dtype, np.integer)
    if is_integer and space.low.min(initial=0) == 0 and space.high.max(initial=1) == 1:
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if space.dtype is None or space.dtype.itemsize > 4 else space.dtype


def check_stack(env: gymnasium.Env[Any, Any], stack: int) -> None:
    """Raise WrongValue if a wrapper stacks frames that `frame_stack` stacks again."""
    if stack > 1 and any(isinstance(layer, FrameStackObservation) for layer in layers(env)):
        should = "should be 1: a wrapper FrameStackObservation stacks frames already; without that wrapper"
        raise WrongValue("env.frame_stack", stack, f"{should} memory stores each frame once")


def layers(env: gymnasium.Env[Any, Any]) -> Iterator[gymnasium.Wrapper[Any, Any, Any, Any]]:
    """Yield the wrappers of an environment, the outermost first."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env


def time_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Return the steps after which an episode is truncated at the latest, None if there is no limit.

    An environment with a limit inside has it as `max_steps`, as those of MiniGrid do, or as
    `max_episode_length`, as those of POPGym.
    """
    inside = [getattr(env.unwrapped, name, None) for name in ("max_steps", "max_episode_length")]
    limits = [limit for limit in inside if isinstance(limit, int) and limit > 0]
    for layer in layers(env):
        if isinstance(layer, TimeLimit) and layer.spec and layer.spec.max_episode_steps is not None:
            limits.append(layer.spec.max_episode_steps)
    if not limits and env.spec is not None:
        return env.spec.max_episode_steps
    return min(limits, default=None)


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
