"""Assertions of the checks; each raises Failure with what was found and what is expected."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dqn.types import Array

TOLERANCE = 1e-4
"""Tolerance for rounding, relative to the largest number."""


class Failure(Exception):
    """A part breaks a rule that other parts rely on; the text says what was found and what is expected."""


class NotApplicable(Exception):
    """A check cannot be applied to a configuration; the text says why."""


def require(condition: bool | np.bool_, text: str) -> None:
    """Raise Failure with `text` unless the condition holds."""
    if not condition:
        raise Failure(text)


def require_shape(name: str, value: Any, shape: Sequence[int], meaning: str = "") -> None:
    """Raise Failure unless an array or tensor has this shape."""
    found, expected = list(value.shape), list(shape)
    require(found == expected, f"{name} has shape {found}; it should be {expected}{meaning}")


def require_finite(name: str, value: torch.Tensor) -> None:
    require(bool(value.isfinite().all()), f"{name} is not finite")


def require_equal(one: Any, other: Any, text: str) -> None:
    """Raise Failure unless two arrays are equal bit for bit."""
    gap = difference(one, other)
    require(gap == 0, f"{text} (greatest difference {gap:.3g}, should be 0)")


def require_close(one: Any, other: Any, text: str) -> None:
    """Raise Failure unless two arrays are equal up to rounding."""
    one, other = array(one), array(other)
    require(one.shape == other.shape, f"{text} (shapes {list(one.shape)} and {list(other.shape)})")
    gap, scale = difference(one.astype(np.float64), other.astype(np.float64)), np.abs(other).max(initial=1.0)
    require(gap <= TOLERANCE * scale, f"{text} (greatest difference {gap:.3g})")


def array(value: Any) -> Array:
    """Return a tensor or a number as an array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def difference(one: Any, other: Any) -> float:
    """Return the greatest difference of two arrays; infinity if their shapes or types differ."""
    one, other = array(one), array(other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    if one.tobytes() == other.tobytes():
        return 0.0
    if one.dtype.kind not in "fiub":
        return float("inf")
    gap = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))
    return float("inf") if np.isnan(gap) else gap


def differences(one: Any, other: Any, path: str = "") -> dict[str, float]:
    """Return the greatest difference of two nested values at each path where they differ."""
    if isinstance(one, torch.Tensor | np.ndarray):
        gap = difference(one, other)
        return {path: gap} if gap else {}
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        items = [(f"{path}.{key}".lstrip("."), one[key], other[key]) for key in one]
    elif is_list(one) and is_list(other) and len(one) == len(other):
        items = [(f"{path}[{i}]", *both) for i, both in enumerate(zip(one, other, strict=True))]
    else:
        return {} if one == other else {path: float("inf")}
    found: dict[str, float] = {}
    for item_path, mine, theirs in items:
        found |= differences(mine, theirs, item_path)
    return found


def is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
