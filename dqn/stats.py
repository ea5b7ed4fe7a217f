"""Statistics over seeds."""

from collections.abc import Sequence

import numpy as np

from dqn.types import Floats


def interquartile_mean(scores: Sequence[float] | Floats) -> float:
    """Return the mean of what is left when the lowest and the highest quarter (rounded down) are cut off.

    Agarwal et al. (2021), section 4.3.
    """
    return float(trimmed_means(np.asarray(scores, np.float64).ravel()))


def trimmed_means(scores: Floats) -> Floats:
    """Return the interquartile means over the last axis of scores [*, K]."""
    ordered = np.sort(scores, axis=-1)
    cut = ordered.shape[-1] // 4
    means: Floats = ordered[..., cut : ordered.shape[-1] - cut].mean(-1)
    return means


def bootstrap_interval(
    scores: Sequence[float] | Floats,
    *,
    generator: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the interquartile mean over seeds.

    Agarwal et al. (2021), section 4.1, for one task.

    Args:
        scores: one for each seed.
        generator: draws the resamples.
        resamples: how many.
        confidence: the share of resamples inside.
    """
    values = np.asarray(scores, np.float64).ravel()
    means = trimmed_means(values[generator.integers(values.size, size=(resamples, values.size))])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
