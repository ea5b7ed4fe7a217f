"""Statistics by hand, by the obvious loop, and as rliable and SciPy have them."""

import json

import numpy as np
import pytest
from helpers import TESTS

from dqn import stats
from dqn.stats import interquartile_mean


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
    return stats.estimate(scores, generator=np.random.default_rng(seed), **words)[1:]


def test_interval_of_equal_scores_is_a_point():
    assert interval([5.0] * 7) == (5.0, 5.0)


def test_interval_by_the_obvious_loop():
    scores = [1.0, 5.0, 2.0, 8.0, 3.0, 9.0, 4.0]
    rng = np.random.default_rng(1)
    means = [interquartile_mean(rng.choice(scores, size=7)) for _ in range(4000)]
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose(interval(scores, resamples=20_000), expected, atol=0.25)


def test_interval_covers_the_truth_as_often_as_it_says():
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


FROZEN = json.loads((TESTS / "data" / "rliable.json").read_text())
AGGREGATES = {
    "iqm": stats.iqm,
    "mean": stats.mean,
    "median": stats.median,
}
cases = pytest.mark.parametrize("case", FROZEN["cases"].values(), ids=FROZEN["cases"].keys())


def close_intervals(found, case, x):
    """Both intervals are of random resamples; their ends may differ by a small part of the scores' spread."""
    np.testing.assert_allclose(found, case, atol=0.03 * np.ptp(x))


@cases
@pytest.mark.parametrize("name", AGGREGATES)
def test_aggregates_agree_with_rliable(case, name):
    x, frozen = np.array(case["x"]), case[name]
    found = stats.estimate(x, statistic=AGGREGATES[name], generator=np.random.default_rng(0))
    assert found.value == pytest.approx(frozen["value"][0], abs=1e-12)
    close_intervals((found.low, found.high), np.ravel(frozen["interval"]), x)


@cases
def test_profiles_agree_with_rliable(case):
    thresholds, frozen = FROZEN["about"]["thresholds"], case["profile"]
    words = {"generator": np.random.default_rng(0), "resamples": 50_000}
    value, low, high = stats.performance_profile(case["x"], thresholds, **words)
    np.testing.assert_allclose(value, frozen["value"], atol=1e-12)
    np.testing.assert_allclose(
        [low, high], frozen["interval"], atol=1 / np.size(case["x"])
    )  # one run: its grain


@cases
def test_probability_of_improvement_agrees_with_rliable(case):
    frozen = case["probability_of_improvement"]
    generator = np.random.default_rng(0)
    found = stats.probability_of_improvement(case["x"], case["y"], generator=generator, resamples=50_000)
    assert found.value == pytest.approx(frozen["value"][0], abs=1e-12)
    # rliable calls resamples that are equal as arrays, and no others, ties
    np.testing.assert_allclose(found[1:], np.ravel(frozen["interval"]), atol=0.02)


def test_sample_efficiency_agrees_with_rliable():
    frozen = FROZEN["efficiency"]
    returns = np.array(frozen["returns"])
    value, low, high = stats.sample_efficiency(returns, generator=np.random.default_rng(0), resamples=20_000)
    np.testing.assert_allclose(value, frozen["value"], atol=1e-12)
    np.testing.assert_allclose([low, high], frozen["interval"], atol=0.02)
    alone = stats.sample_efficiency(returns[:, 0], generator=np.random.default_rng(0))
    np.testing.assert_allclose(alone.value, [interquartile_mean(r) for r in returns[:, 0].T])


def test_agreement_with_scipy():
    scipy = pytest.importorskip("scipy.stats", reason="SciPy is not installed; the extra `dev` brings it")
    rng = np.random.default_rng(3)
    for shape in ((1, 1), (5, 1), (9, 2), (4, 7)):
        x = rng.normal(size=shape)
        assert float(stats.iqm(x)) == pytest.approx(scipy.trim_mean(x, 0.25, axis=None))
    x, y = rng.normal(0.5, 1, 12), rng.normal(0, 1, 12)
    y = y + 0.9 * x
    words = {"n_resamples": 20_000, "method": "percentile", "rng": 0, "vectorized": True}
    theirs = scipy.bootstrap((x,), lambda s, axis: scipy.trim_mean(s, 0.25, axis=axis), **words)
    np.testing.assert_allclose(interval(x), theirs.confidence_interval, atol=0.02)

    def difference(a, b, axis):
        return scipy.trim_mean(a, 0.25, axis=axis) - scipy.trim_mean(b, 0.25, axis=axis)

    theirs = scipy.bootstrap((x, y), difference, paired=True, **words)
    found = stats.paired_difference(x, y, generator=np.random.default_rng(0), resamples=20_000)
    np.testing.assert_allclose(found[1:], theirs.confidence_interval, atol=0.02)
    wins = scipy.mannwhitneyu(x, y).statistic / (len(x) * len(y))
    assert stats.probability_of_improvement(x, y, generator=rng).value == pytest.approx(wins)


def test_aggregates_by_hand():
    scores = np.array([[0.0, 1.0, 4.0], [2.0, 1.0, 8.0]])  # tasks' means 1, 1, 6
    assert stats.mean(scores) == pytest.approx(16 / 6)
    assert stats.median(scores) == 1
    assert stats.iqm(scores) == pytest.approx((1 + 1 + 2 + 4) / 4)


def test_strata_keep_their_tasks():
    """Scores that depend on the task alone leave nothing to chance."""
    scores = np.tile([1.0, 5.0, 100.0], (4, 1))
    assert interval(scores) == (float(stats.iqm(scores)),) * 2


def test_probability_of_improvement_by_hand():
    found = stats.probability_of_improvement([1.0, 3.0], [1.0, 2.0, 0.0], generator=np.random.default_rng(0))
    assert found.value == pytest.approx((0.5 + 0 + 1 + 1 + 1 + 1) / 6)
    assert 0 <= found.low <= found.value <= found.high <= 1
    swapped = stats.probability_of_improvement(
        [1.0, 2.0, 0.0], [1.0, 3.0], generator=np.random.default_rng(0)
    )
    assert swapped.value == pytest.approx(1 - found.value)


def test_pairing_takes_out_what_a_seed_does_to_both():
    seeds = np.random.default_rng(0).normal(0, 100, 10)
    found = stats.paired_difference(seeds + 1, seeds, generator=np.random.default_rng(0))
    np.testing.assert_allclose(found, 1)


def test_resamples_in_blocks_are_all_there(monkeypatch):
    monkeypatch.setattr(stats, "BLOCK", 50)
    blocks = list(stats.resampled(np.zeros((5, 2, 3)), generator=np.random.default_rng(0), resamples=10))
    assert [block.shape for block in blocks] == [(1, 5, 2, 3)] * 10
    assert interval([1.0, 5.0, 2.0, 8.0], resamples=30) == pytest.approx((1.0, 8.0), abs=3)


@pytest.mark.parametrize("scores", [[], [[]], [1.0, np.nan], [[[1.0]]]])
def test_scores_that_are_none(scores):
    with pytest.raises(ValueError, match="finite"):
        interval(scores)


def test_shapes_that_do_not_fit():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="tasks"):
        stats.probability_of_improvement([1.0], [[1.0, 2.0]], generator=rng)
    with pytest.raises(ValueError, match="shape"):
        stats.paired_difference([1.0], [1.0, 2.0], generator=rng)
    with pytest.raises(ValueError, match="finite"):
        stats.sample_efficiency(np.zeros(3), generator=rng)
