"""States from checkpoints, which may be damaged or of another run: they are taken only if they fit."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dqn.types import Array


def assign(target: Array, stored: Any, *, least: float = -np.inf, most: float = np.inf) -> None:
    """Copy a stored array, or nested lists of numbers, into `target`.

    Args:
        target: is unchanged after an error.
        stored: should have its shape and its kind of numbers.
        least: the least allowed number.
        most: the greatest allowed number.

    Raises:
        ValueError: the shape, the kind or a number is wrong.
    """
    array = np.asarray(stored)
    if array.shape != target.shape or array.dtype.kind != target.dtype.kind:
        raise ValueError(f"{array.dtype}{list(array.shape)} instead of {target.dtype}{list(target.shape)}")
    if np.isfinite((least, most)).any() and not ((array >= least) & (array <= most)).all():
        raise ValueError(f"numbers from {array.min()} to {array.max()} beyond {least} to {most}")
    target[...] = array


def check_formats(stored: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise ValueError unless arrays or tensors have the names, shapes and types of others."""
    formats = [{name: (*one.shape, str(one.dtype)) for name, one in each.items()} for each in (stored, own)]
    if formats[0] != formats[1]:
        raise ValueError(f"arrays {formats[0]} instead of {formats[1]}")
