"""Observations as networks read them: composite ones are flattened, discrete ones counted from 0."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation, TransformAction, TransformObservation
from gymnasium.wrappers.utils import create_zero_array

from dqn.env.masks import MaskSource, read_part
from dqn.env.spec import becomes_numbers, images_in, parts_of, spans_bytes
from dqn.types import Array, Floats


def adapt(
    env: gymnasium.Env[Any, Any], *, scale_bytes: bool, action_mask: MaskSource | None
) -> gymnasium.Env[Any, Any]:
    """Return an environment with composite observations flattened and discrete spaces counted from 0."""
    space, actions = env.observation_space, env.action_space
    encode, encoded = encoder(space, scale_bytes=scale_bytes, action_mask=action_mask)
    if encoded is not space:
        env = TransformObservation(env, encode, encoded)
    if isinstance(actions, spaces.Discrete) and actions.start != 0:
        first, count = int(actions.start), int(actions.n)
        env = TransformAction(env, lambda action: action + first, spaces.Discrete(count))
    return env


def stacked(env: gymnasium.Env[Any, Any], stack: int) -> gymnasium.Env[Any, Any]:
    """Return an environment whose observations are the latest `stack` of an episode, the newest last."""
    if stack == 1:
        return env
    own = TransformObservation(env, deepcopy, env.observation_space)  # many environments change theirs
    return FrameStackObservation(own, stack, padding_type="zero")


def zero_of(space: spaces.Space[Any], *, scale_bytes: bool, action_mask: MaskSource | None) -> Array:
    """Return the encoded observation that `stacked` adds before the first of an episode."""
    encode, _ = encoder(space, scale_bytes=scale_bytes, action_mask=action_mask)
    return np.asarray(encode(create_zero_array(space)))


def encoder(
    space: spaces.Space[Any], *, scale_bytes: bool, action_mask: MaskSource | None
) -> tuple[Callable[[Any], Any], spaces.Space[Any]]:
    """Return a function from observations of `space` to stored ones, and the space of the latter.

    A mask among the parts of observations is left out.
    """
    if action_mask != "obs":
        return encoder_of_all(space, scale_bytes=scale_bytes)
    read, rest = read_part(space)
    encode, encoded = encoder_of_all(rest, scale_bytes=scale_bytes)
    return lambda obs: encode(read(obs)), encoded


def encoder_of_all(
    space: spaces.Space[Any], *, scale_bytes: bool
) -> tuple[Callable[[Any], Any], spaces.Space[Any]]:
    """Return a function from whole observations of `space` to stored ones, and the space of the latter.

    Composite observations become numbers, those of the image first; one that is nothing but an image becomes
    this image. If bytes that span 0 to 255 are only some parts, they are divided by 255 here. If they are all
    of it, they are stored as bytes, and the network divides them.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple | spaces.MultiDiscrete) and becomes_numbers(space):
        flat: Any = spaces.flatten_space(space)  # a Box
        arrange = image_first(space)
        factor = arrange(byte_factor(space))
        low, high = arrange(flat.low), arrange(flat.high)
        if not scale_bytes or (factor == factor.flat[:1]).all():
            return lambda obs: arrange(spaces.flatten(space, obs)), spaces.Box(low, high, dtype=flat.dtype)
        low, high = low.astype(np.float32) * factor, high.astype(np.float32) * factor
        return (
            lambda obs: arrange(spaces.flatten(space, obs)).astype(np.float32) * factor,
            spaces.Box(low, high, dtype=np.float32),
        )
    if isinstance(space, spaces.Discrete) and space.start != 0:
        first, count = space.start, int(space.n)
        return lambda obs: obs - first, spaces.Discrete(count)
    return lambda obs: obs, space


def image_first(space: spaces.Space[Any]) -> Callable[[Any], Array]:
    """Return a function that puts the image's numbers of flattened observations before the others."""
    images = images_in(space)
    if not images:
        return np.asarray
    image, start = images[0]
    stop = start + spaces.flatdim(image)
    if stop - start == spaces.flatdim(space):
        return lambda flat: flat.reshape(image.shape)
    return lambda flat: np.concatenate((flat[start:stop], flat[:start], flat[stop:]))


def byte_factor(space: spaces.Space[Any]) -> Floats:
    """Return the factor of each number of flattened observations: 1/255 in bytes that span 0 to 255."""
    factors = [np.full(spaces.flatdim(part), 1 / 255 if spans_bytes(part) else 1) for part in parts_of(space)]
    return np.concatenate([np.zeros(0), *factors]).astype(np.float32)
