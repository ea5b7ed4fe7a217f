"""Statistics by hand."""

import numpy as np
import pytest

from dqn.stats import bootstrap_interval, interquartile_mean


@pytest.mark.parametrize(
    ("scores", "mean"),
    [
        ([3.0], 3.0),
        ([1.0, 2.0, 9.0], 4.0),
        ([100.0, 1.0, 2.0, 3.0], 2.5),
        ([0.0, 1, 2, 3, 4, 5, 6, 100], 3.5),
        ([0.0, 0, 1, 2, 3, 100, 100, 100, 100, 100], (1 + 2 + 3 + 100 + 100 + 100) / 6),
    ],
)
def test_interquartile_mean(scores, mean):
    """A quarter, rounded down, goes from each end."""
    assert interquartile_mean(scores) == pytest.approx(mean)


def interval(scores, seed=0, **words):
    return bootstrap_interval(scores, generator=np.random.default_rng(seed), **words)


def test_bootstrap_interval_of_equal_scores_is_a_point():
    assert interval([5.0] * 7) == (5.0, 5.0)


def test_bootstrap_interval_by_the_obvious_loop():
    scores = [1.0, 5.0, 2.0, 8.0, 3.0, 9.0, 4.0]
    rng = np.random.default_rng(1)
    means = [interquartile_mean(rng.choice(scores, size=7)) for _ in range(4000)]
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose(interval(scores, resamples=20_000), expected, atol=0.25)


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    """Normal scores with interquartile mean 0; with ten seeds the percentile interval is a little short."""
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        low, high = interval(rng.normal(size=10), seed=trial, resamples=500)
        hits += low <= 0 <= high
    assert 0.86 < hits / 300 < 0.99


def test_more_confidence_is_wider():
    scores = np.random.default_rng(0).normal(size=10)
    narrow, wide = interval(scores, confidence=0.5), interval(scores, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
