"""Masks of the valid actions, which an environment gives in its infos or in its observations."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from dqn.env.spec import numbers_of

MaskSource = Literal["info", "obs"]
"""The result that has an environment's masks: its info, or its observation, which is then a Dict."""

MASK = "action_mask"
"""Key of the mask in both."""


def observes_mask(space: spaces.Space[Any], num_actions: int) -> bool:
    """Return whether observations are a mask of that many actions and something else."""
    if not isinstance(space, spaces.Dict) or MASK not in space.spaces or len(space) < 2:
        return False
    return space[MASK].shape == (num_actions,)


def read_part(space: spaces.Space[Any]) -> tuple[Callable[[Any], Any], spaces.Space[Any]]:
    """Return a function that leaves the mask out of Dict observations, and the space of the rest.

    If one part is left, the rest is that part.
    """
    assert isinstance(space, spaces.Dict)
    parts = {key: part for key, part in space.items() if key != MASK}
    if len(parts) == 1:
        ((only, part),) = parts.items()
        return lambda obs: obs[only], part
    return lambda obs: {key: obs[key] for key in parts}, spaces.Dict(parts)


def given_mask(source: MaskSource, obs: Any, info: Any) -> Any:
    """Return the mask that an environment gave; None if it gave none."""
    place = info if source == "info" else obs
    return place.get(MASK) if isinstance(place, Mapping) else None


def mask_problem(mask: Any, *shape: int) -> str | None:
    """Return what is wrong with masks [*shape]; None if nothing is."""
    array = numbers_of(mask)
    if array is None or array.shape != shape:
        return f"should be zeros and ones of the shape {shape}, whose last axis is that of the actions"
    if not ((array == 0) | (array == 1)).all():
        return "should be zeros and ones, or booleans"
    return None if array.any(-1).all() else "allows no action; at least one should be valid"


def valid_action(mask: Any, number: int) -> int:
    """Return the valid action with this number, counted in circles; without any it is the number."""
    valid: list[int] = [] if mask is None else np.flatnonzero(mask).tolist()
    return valid[number % len(valid)] if valid else number
