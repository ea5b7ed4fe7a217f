"""Schedules at their corners."""

import pytest

from dqn.schedule import Constant, Exponential, Linear


def test_linear():
    schedule = Linear(start=0.08, end=0.01, duration=1400)
    assert schedule(0) == 0.08
    assert schedule(700) == pytest.approx(0.045)
    assert schedule(1400) == schedule(10**9) == pytest.approx(0.01)


@pytest.mark.parametrize("episode", range(0, 3000, 37))
def test_linear_is_the_documents_epsilon(episode):
    schedule = Linear(start=0.08, end=0.01, duration=1400)
    assert schedule(episode) == pytest.approx(max(0.01, 0.08 - 0.01 * (episode / 200)))


def test_exponential():
    schedule = Exponential(start=1.0, end=0.01, duration=100)
    assert schedule(0) == 1.0
    assert schedule(50) == pytest.approx(0.1)
    assert schedule(100) == schedule(10**9) == pytest.approx(0.01)


def test_constant():
    assert Constant(value=0.3)(0) == Constant(value=0.3)(10**9) == 0.3
