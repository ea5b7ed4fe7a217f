"""Schedules at their corners."""

import pytest

from dqn.schedule import Constant, DelayedLinear, Exponential, Linear


def test_linear():
    schedule = Linear(start=0.08, end=0.01, duration=1400)
    assert schedule(0) == 0.08
    assert schedule(700) == pytest.approx(0.045)
    assert schedule(1400) == schedule(10**9) == pytest.approx(0.01)


@pytest.mark.parametrize("episode", range(0, 3000, 37))
def test_linear_is_the_documents_epsilon(episode):
    schedule = Linear(start=0.08, end=0.01, duration=1400)
    assert schedule(episode) == pytest.approx(max(0.01, 0.08 - 0.01 * (episode / 200)))


@pytest.mark.parametrize("step", [0, 19_999, 20_000, 20_001, 145_000, 269_999, 270_000, 10**9])
def test_delayed_linear_is_dopamines_epsilon(step):
    schedule = DelayedLinear(start=1.0, end=0.01, duration=250_000, delay=20_000)
    bonus = (1 - 0.01) * (250_000 + 20_000 - step) / 250_000
    assert schedule(step) == pytest.approx(0.01 + min(max(bonus, 0), 1 - 0.01))


def test_exponential():
    schedule = Exponential(start=1.0, end=0.01, duration=100)
    assert schedule(0) == 1.0
    assert schedule(50) == pytest.approx(0.1)
    assert schedule(100) == schedule(10**9) == pytest.approx(0.01)


def test_constant():
    assert Constant(value=0.3)(0) == Constant(value=0.3)(10**9) == 0.3
