"""The priority of a window of steps."""

import numpy as np

from dqn.types import Bools, Floats


def window_priority(error: Floats, valid: Bools, eta: float) -> Floats:
    """Return eta * max + (1 - eta) * mean of the errors of each window's valid steps, [K, B].

    Kapturowski et al. (2019), section 2.3, with eta = 0.9. A window without a valid step has the priority 0.

    Args:
        error: sizes of the errors, at least 0, [K, T, B].
        valid: whether a step is one of its episode [K, T, B]; the errors of others are not read.
        eta: share of the largest error, from 0 to 1.
    """
    counted = np.where(valid, error, 0.0)
    mean = counted.sum(1) / np.maximum(valid.sum(1), 1)
    priority: Floats = eta * counted.max(1) + (1 - eta) * mean
    return priority
