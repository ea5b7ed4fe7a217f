"""Schedules: functions from a tick (an episode or an environment step per seed) to a number in [0, 1].

They give epsilon, and the factor of the learning rate.
"""

from dataclasses import dataclass
from typing import Protocol

from dqn.types import NonNegativeInt, PositiveInt, PositiveProbability, Probability


class Schedule(Protocol):
    def __call__(self, tick: int) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The same value at every tick."""

    value: Probability

    def __call__(self, tick: int) -> float:
        return self.value


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A straight line from `start` at tick 0 to `end` at tick `duration`, then `end`."""

    start: Probability
    end: Probability
    duration: PositiveInt

    def __call__(self, tick: int) -> float:
        return self.start + (self.end - self.start) * min(tick / self.duration, 1.0)


@dataclass(frozen=True, kw_only=True)
class DelayedLinear(Linear):
    """`start` up to tick `delay`, then a straight line to `end` within `duration` ticks, then `end`."""

    delay: NonNegativeInt

    def __call__(self, tick: int) -> float:
        return super().__call__(max(tick - self.delay, 0))


@dataclass(frozen=True, kw_only=True)
class Exponential:
    """A geometric sequence from `start` at tick 0 to `end` at tick `duration`, then `end`."""

    start: PositiveProbability
    end: PositiveProbability
    duration: PositiveInt

    def __call__(self, tick: int) -> float:
        return float(self.start * (self.end / self.start) ** min(tick / self.duration, 1.0))
