"""Statistics by hand."""

import pytest

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
