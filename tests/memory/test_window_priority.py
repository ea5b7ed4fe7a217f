"""The priority of a window, by hand."""

import numpy as np
import pytest

from dqn.memory import window_priority


@pytest.mark.parametrize(
    ("eta", "expected"),
    [(0.0, [[2.0, 3.0, 0.0]]), (1.0, [[4.0, 5.0, 0.0]]), (0.9, [[3.8, 4.8, 0.0]])],
)
def test_by_hand(eta, expected):
    """Windows with the errors 0, 2, 4; 1, 5 and an invalid one; and invalid ones alone, even NaN."""
    error = np.array([[[0.0, 1.0, 7.0], [2.0, 5.0, np.nan], [4.0, 99.0, 8.0]]], np.float32)
    valid = np.array([[[True, True, False], [True, True, False], [True, False, False]]])
    np.testing.assert_allclose(window_priority(error, valid, eta), expected, rtol=1e-6)
