"""Assertions of the checks; each raises Failure with what was found and what is expected."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dqn.storage.flatten import leaves
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
    one, other = array(one).astype(np.float64), array(other).astype(np.float64)
    require(one.shape == other.shape, f"{text} (shapes {list(one.shape)} and {list(other.shape)})")
    gap = difference(one, other)
    require(gap <= TOLERANCE * np.abs(other).max(initial=1.0), f"{text} (greatest difference {gap:.3g})")


def array(value: Any) -> Array:
    """Return a tensor or a number as an array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def difference(one: Any, other: Any) -> float:
    """Return the greatest difference of two values; infinity if one is no number or their types differ."""
    one, other = array(one), array(other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    if one.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(one, other) else float("inf")
    if one.tobytes() == other.tobytes():
        return 0.0
    gap = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))
    return float("inf") if np.isnan(gap) else gap


def differences(one: Any, other: Any) -> dict[str, float]:
    """Return the greatest difference of two nested values at each path where they differ."""
    mine, theirs = dict(leaves(one)), dict(leaves(other))
    gaps = {path: difference(mine.get(path), theirs.get(path)) for path in mine | theirs}
    return {path: gap for path, gap in gaps.items() if gap}
