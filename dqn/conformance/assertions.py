"""What a check finds, told in numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dqn.types import Array

TOLERANCE = 1e-4
"""Of what should be equal but for rounding, relative to the largest number."""


class Failure(Exception):
    """A part does not do what the others rely on; the text tells what was seen and what would be right."""


class NotApplicable(Exception):
    """A check has nothing to try; the text tells why."""


def require(is_right: bool | np.bool_, text: str) -> None:
    if not is_right:
        raise Failure(text)


def array(value: Any) -> Array:
    """Return a tensor or a number as an array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def difference(one: Any, other: Any) -> float:
    """Return the greatest difference of two arrays; infinite where shapes or types of numbers differ."""
    one, other = array(one), array(other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    if one.tobytes() == other.tobytes():
        return 0.0
    if one.dtype.kind not in "fiub":
        return float("inf")
    gap = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return float("inf") if np.isnan(gap).any() else float(gap.max(initial=0.0))


def same(one: Any, other: Any, text: str) -> None:
    """Fail unless two arrays are equal bit for bit."""
    gap = difference(one, other)
    require(gap == 0, f"{text} (greatest difference {gap:.3g}, should be 0)")


def near(one: Any, other: Any, text: str) -> None:
    """Fail unless two arrays are equal but for rounding."""
    one, other = array(one), array(other)
    require(one.shape == other.shape, f"{text} (shapes {list(one.shape)} and {list(other.shape)})")
    gap, scale = difference(one.astype(np.float64), other.astype(np.float64)), np.abs(other).max(initial=1.0)
    require(gap <= TOLERANCE * scale, f"{text} (greatest difference {gap:.3g})")


def differences(one: Any, other: Any, path: str = "") -> dict[str, float]:
    """Return the greatest difference of two nested values by the paths at which they differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        pairs = [(f"{path}.{key}".lstrip("."), one[key], other[key]) for key in one]
    elif isinstance(one, str) or not isinstance(one, Sequence):
        pairs = []
        if not isinstance(one, torch.Tensor | np.ndarray):
            return {} if one == other else {path: float("inf")}
        if gap := difference(one, other):
            return {path: gap}
    elif not isinstance(other, Sequence) or len(one) != len(other):
        return {path: float("inf")}
    else:
        pairs = [(f"{path}[{i}]", *both) for i, both in enumerate(zip(one, other, strict=True))]
    found: dict[str, float] = {}
    for place, mine, theirs in pairs:
        found |= differences(mine, theirs, place)
    return found
