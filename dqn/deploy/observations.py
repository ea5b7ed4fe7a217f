"""Observations that a user gives to a policy, one or a batch of them, checked against their space."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from dqn.env.spec import bounds, numbers_of

Space = spaces.Space[Any]


def split(space: Space, obs: Any) -> tuple[Any, bool]:
    """Return a sequence of observations and True for a batch, [obs] and False for one observation."""
    if isinstance(obs, list) and isinstance(space, spaces.Dict | spaces.Tuple):
        for i, one in enumerate(obs):
            if check(space, one, f"obs[{i}]") is not None:
                raise ValueError(f"obs[{i}] is a batch; in a list it should be one observation")
        return obs, True
    count = check(space, obs, "obs")
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        array = np.asarray(obs)
        return (array[np.newaxis], False) if count is None else (array, True)
    return ([obs], False) if count is None else ([take(space, obs, i) for i in range(count)], True)


def take(space: Space, obs: Any, i: int) -> Any:
    """Return observation `i` of a checked batch."""
    if isinstance(space, spaces.Dict):
        return {key: take(part, obs[key], i) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(take(part, one, i) for part, one in zip(space, obs, strict=True))
    return np.asarray(obs)[i]


def check(space: Space, obs: Any, name: str) -> int | None:
    """Return the size of a batch of observations of `space`, None for one observation.

    Raises:
        ValueError: `obs` is neither; the message calls it `name`.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, Mapping) or obs.keys() != space.keys():
            given = list(obs) if isinstance(obs, Mapping) else type(obs).__name__
            raise ValueError(f"{name}: should be a dict of {list(space)}, not {given}")
        parts = [(part, obs[key], f"{name}[{key!r}]") for key, part in space.items()]
    elif isinstance(space, spaces.Tuple):
        if not isinstance(obs, tuple) or len(obs) != len(space):
            given = f"{type(obs).__name__} of {len(obs)}" if isinstance(obs, tuple) else type(obs).__name__
            raise ValueError(f"{name}: should be a tuple of {len(space)}, not {given}")
        parts = [(part, obs[i], f"{name}[{i}]") for i, part in enumerate(space)]
    else:
        return check_array(space, obs, name)
    sizes = {check(*part) for part in parts}
    if len(sizes) > 1:
        raise ValueError(f"{name}: its parts should be batches of one size")
    return sizes.pop() if sizes else None


def check_array(space: Space, obs: Any, name: str) -> int | None:
    """Return the size of a batch of arrays or numbers, None for one array or number."""
    array, shape = numbers_of(obs), space.shape or ()
    if array is None:
        raise ValueError(f"{name}: should be numbers of the shape {shape}, or a batch of these")
    batched = array.ndim == len(shape) + 1
    if array.shape[batched:] != shape:
        batch = ", ".join(map(str, ("B", *shape)))
        raise ValueError(
            f"{name}: should have the shape {shape}, or [{batch}] for a batch, not {array.shape}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name}: should be finite numbers, not {obs}")
    if space.dtype is not None and space.dtype.kind in "iu":
        low, high = bounds(space)
        is_whole = array.dtype.kind != "f"
        is_whole = is_whole or (isinstance(space, spaces.MultiBinary) and (array % 1 == 0).all())
        if not is_whole or (array < low).any() or (array > high).any():
            raise ValueError(f"{name}: should be whole numbers in {space}, not {obs}")
    return len(array) if batched else None
