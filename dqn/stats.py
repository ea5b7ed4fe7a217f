"""Statistics over seeds."""

from collections.abc import Sequence

import numpy as np

from dqn.types import Floats


def interquartile_mean(scores: Sequence[float] | Floats) -> float:
    """Return the mean of what is left when the lowest and the highest quarter (rounded down) are cut off.

    Agarwal et al. (2021), section 4.3.
    """
    ordered = np.sort(np.asarray(scores, np.float64).ravel())
    cut = ordered.size // 4
    return float(ordered[cut : ordered.size - cut].mean())
