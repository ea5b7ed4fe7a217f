"""Observations as networks read them: composite ones are flattened, discrete ones counted from 0."""

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.env.spec import spans_bytes
from dqn.types import Floats

Env = gymnasium.Env[Any, Any]


def adapt(env: Env, *, scale_bytes: bool) -> Env:
    """Return an environment with composite observations flattened and discrete spaces counted from 0."""
    space, actions = env.observation_space, env.action_space
    encode, encoded = encoder(space, scale_bytes=scale_bytes)
    if encoded is not space:
        env = gymnasium.wrappers.TransformObservation(env, encode, encoded)
    if isinstance(actions, spaces.Discrete) and actions.start != 0:
        first, count = int(actions.start), int(actions.n)
        env = gymnasium.wrappers.TransformAction(env, lambda action: action + first, spaces.Discrete(count))
    return env


def encoder(space: spaces.Space[Any], *, scale_bytes: bool) -> tuple[Callable[[Any], Any], spaces.Space[Any]]:
    """Return a function from observations of `space` to stored ones, and the space of the latter.

    If bytes that span 0 to 255 are only some parts of a composite space, they are divided by 255 here. If
    they are all of it, they are stored as bytes, and the network divides them.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple | spaces.MultiDiscrete) and space.is_np_flattenable:
        flatten: Callable[[Any], Any] = partial(spaces.flatten, space)
        flat: Any = spaces.flatten_space(space)  # a Box
        factor = byte_factor(space)
        if not scale_bytes or (factor == factor[:1]).all():
            return flatten, flat
        low, high = flat.low.astype(np.float32) * factor, flat.high.astype(np.float32) * factor
        return lambda obs: flatten(obs).astype(np.float32) * factor, spaces.Box(low, high, dtype=np.float32)
    if isinstance(space, spaces.Discrete) and space.start != 0:
        first, count = space.start, int(space.n)
        return lambda obs: obs - first, spaces.Discrete(count)
    return lambda obs: obs, space


def byte_factor(space: spaces.Space[Any]) -> Floats:
    """Return the factor of each number of flattened observations: 1/255 in bytes that span 0 to 255."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.values() if isinstance(space, spaces.Dict) else space
        return np.concatenate([np.zeros(0, np.float32), *map(byte_factor, parts)])
    return np.full(spaces.flatdim(space), 1 / 255 if spans_bytes(space) else 1, np.float32)
