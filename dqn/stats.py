"""Statistics over seeds and tasks: point estimates and stratified bootstrap intervals.

After Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice", arXiv
2108.13264. Letters beside those of dqn.types: K seeds, M tasks, T steps or thresholds, R resamples. A matrix
of scores is [K, M]; [K] stands for one task. Each task's seeds are resampled independently (the paper's
strata); the tasks are fixed. All intervals are percentile intervals, pointwise where there are several.

Common arguments: `generator` draws the resamples, `resamples` is their number, and `confidence` the share of
them inside the interval. `statistic` maps scores [*, K, M] to [*]; the default is the interquartile mean.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from dqn.seeding import stream
from dqn.types import Floats, Integers

Scores = Sequence[float] | Floats
Statistic = Callable[[Floats], Floats]
"""Maps scores [*, K, M] to [*]."""

CONFIDENCE = 0.95
RESAMPLES = 10_000
BLOCK = 2_000_000
"""Scores in one block of resamples; larger blocks cost memory and save no time."""


class Estimate(NamedTuple):
    """A number and its interval."""

    value: float
    low: float
    high: float


class Band(NamedTuple):
    """Numbers [T] and their pointwise intervals."""

    value: Floats
    low: Floats
    high: Floats


def interquartile_mean(scores: Scores) -> float:
    """Return the mean of all scores, of any shape, without the lowest and the highest quarter.

    A quarter is rounded down. Agarwal et al. (2021), section 4.3.
    """
    return float(iqm(np.reshape(np.asarray(scores, np.float64), (-1, 1))))


def iqm(scores: Floats) -> Floats:
    """Return the interquartile means [*] of scores [*, K, M], over seeds and tasks together.

    Agarwal et al. (2021), section 4.3.
    """
    ordered = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = ordered.shape[-1] // 4
    means: Floats = ordered[..., cut : ordered.shape[-1] - cut].mean(-1)
    return means


def mean(scores: Floats) -> Floats:
    """Return the means [*] of scores [*, K, M]."""
    means: Floats = scores.mean((-2, -1))
    return means


def median(scores: Floats) -> Floats:
    """Return the medians [*] over tasks of the means over seeds of scores [*, K, M].

    For one task this is the mean. Agarwal et al. (2021), section 4.3, "median" of the literature.
    """
    medians: Floats = np.median(scores.mean(-2), axis=-1)
    return medians


def matrix(scores: Scores, further: str = "") -> Floats:
    """Return scores [K] or [K, M] as [K, M]; `further` names an additional last axis, such as ", T".

    Raises:
        ValueError: scores are empty or not finite, or have another number of axes.
    """
    values, axes = np.asarray(scores, np.float64), 2 + further.count(",")
    values = values[:, np.newaxis] if values.ndim == axes - 1 else values
    if values.ndim != axes or not values.size or not np.isfinite(values).all():
        allowed = f"[K{further}] or [K, M{further}]"
        raise ValueError(f"scores should be finite, not empty, and {allowed}: their shape is {values.shape}")
    return values


def bootstrapped(
    scores: Floats, statistic: Statistic, *, generator: Generator, resamples: int, confidence: float
) -> tuple[Floats, Floats, Floats]:
    """Return a statistic of scores [K, M, ...] and the ends of its stratified bootstrap interval.

    Agarwal et al. (2021), section 4.1.
    """
    blocks = resampled(scores, generator=generator, resamples=resamples)
    return statistic(scores), *percentiles(map(statistic, blocks), confidence)


def resampled(scores: Floats, *, generator: Generator, resamples: int) -> Iterator[Floats]:
    """Yield blocks [*, K, M, ...] of `resamples` resamples of scores [K, M, ...] in all.

    The values of a seed on further axes (such as steps) stay together.
    """
    num_seeds, num_tasks = scores.shape[:2]
    rows = max(1, BLOCK // scores.size)
    for first in range(0, resamples, rows):
        shape = (min(rows, resamples - first), num_seeds, num_tasks)
        yield scores[generator.integers(num_seeds, size=shape), np.arange(num_tasks)]


def percentiles(blocks: Iterable[Floats], confidence: float) -> tuple[Floats, Floats]:
    """Return the ends [*] of the interval that contains the share `confidence` of blocks [R, *]."""
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(np.concatenate(list(blocks)), ends, axis=0)
    return low, high


def counts(scores: Floats, *, generator: Generator, resamples: int) -> Integers:
    """Return how often each resample of a task contains each seed of scores [K, M], as [R, M, K].

    A statistic that is linear in the resampled seeds needs nothing else.
    """
    num_seeds, num_tasks = scores.shape
    even = np.full(num_seeds, 1 / num_seeds)
    return generator.multinomial(num_seeds, even, size=(resamples, num_tasks))


def estimate(
    scores: Scores,
    *,
    generator: Generator,
    statistic: Statistic = iqm,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return a statistic of scores [K, M] with its interval."""
    found = bootstrapped(
        matrix(scores), statistic, generator=generator, resamples=resamples, confidence=confidence
    )
    return Estimate(*map(float, found))


def summarize(scores: Scores) -> Estimate:
    """Return the interquartile mean of scores [K, M]; equal scores in equal order have equal intervals.

    The interval of a single score is unknown: NaN.
    """
    found = estimate(scores, generator=stream(0, "summarize"))
    return found if np.size(scores) > 1 else found._replace(low=np.nan, high=np.nan)


def performance_profile(
    scores: Scores,
    thresholds: Scores,
    *,
    generator: Generator,
    resamples: int = 2000,
    confidence: float = CONFIDENCE,
) -> Band:
    """Return the share of scores [K, M] above each threshold [T], with its interval.

    The run-score distribution of Agarwal et al. (2021), section 4.2 and eq. 2.
    """
    values = matrix(scores)
    above = values.T[..., np.newaxis] > np.asarray(thresholds, np.float64)  # [M, K, T]
    drawn = counts(values, generator=generator, resamples=resamples).reshape(resamples, -1)
    found = drawn @ above.reshape(values.size, -1).astype(np.float64) / values.size
    return Band(above.mean((0, 1)), *percentiles([found], confidence))


def probability_of_improvement(
    x: Scores, y: Scores, *, generator: Generator, resamples: int = 2000, confidence: float = CONFIDENCE
) -> Estimate:
    """Return the probability that a run of X scores more than one of Y on the same task, with its interval.

    `x` has scores [K, M], `y` [L, M]. The mean over tasks of P(X > Y) + P(X = Y) / 2 (Mann and Whitney's U
    over K * L); X and Y are resampled independently. Agarwal et al. (2021), section 4.2 and eq. 3.

    Raises:
        ValueError: the numbers of tasks differ.
    """
    a, b = matrix(x), matrix(y)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"x has scores of {a.shape[1]} tasks, y of {b.shape[1]}: they should be the same")
    left, right = a.T[:, :, np.newaxis], b.T[:, np.newaxis]
    wins = (left > right) + 0.5 * (left == right)  # [M, K, L]
    drawn_x, drawn_y = (
        counts(scores, generator=generator, resamples=resamples).swapaxes(0, 1) for scores in (a, b)
    )  # [M, R, K] and [M, R, L]
    found = ((drawn_x @ wins) * drawn_y).sum(-1).mean(0) / (len(a) * len(b))
    low, high = percentiles([found], confidence)
    return Estimate(float(wins.mean()), float(low), float(high))


def paired_difference(
    x: Scores,
    y: Scores,
    *,
    generator: Generator,
    statistic: Statistic = iqm,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return a statistic of X minus that of Y, with its interval, where row k of both is one seed.

    `x` and `y` have scores [K, M]. A resample takes the same seeds of both, so the effects of a seed that
    both share cancel out. The paper lacks this estimate.

    Raises:
        ValueError: the shapes differ.
    """
    pairs = np.stack([matrix(x), matrix(y)], axis=-1)  # [K, M, 2]
    found = bootstrapped(
        pairs,
        lambda pairs: statistic(pairs[..., 0]) - statistic(pairs[..., 1]),
        generator=generator,
        resamples=resamples,
        confidence=confidence,
    )
    return Estimate(*map(float, found))


def sample_efficiency(
    returns: Floats, *, generator: Generator, resamples: int = 2000, confidence: float = CONFIDENCE
) -> Band:
    """Return the interquartile mean over seeds and tasks at each of T steps, with its interval.

    `returns` is [K, M, T], or [K, T] of one task; all seeds are at the same steps. Agarwal et al. (2021),
    section 4.1 and figure 9.

    Raises:
        ValueError: returns are empty or not finite, or have neither two axes nor three.
    """
    found = bootstrapped(
        matrix(returns, ", T"),
        lambda scores: iqm(np.moveaxis(scores, -1, -3)),
        generator=generator,
        resamples=resamples,
        confidence=confidence,
    )
    return Band(*found)
