"""A run's one clock, in episodes or in environment steps."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dqn.types import Bools, NonNegativeInt, PositiveInt, PositiveProbability, Probability


@dataclass(frozen=True, kw_only=True)
class Clock(ABC):
    """The unit in which a run counts time, its tick, and every period that is counted in it.

    conf/runner explains the keys.
    """

    iteration_length: PositiveInt
    batch_size: PositiveInt
    learning_starts: NonNegativeInt
    train_period: PositiveInt
    updates_per_train: PositiveInt
    target_period: PositiveInt
    target_tau: PositiveProbability
    eval_period: NonNegativeInt
    eval_episodes: NonNegativeInt
    eval_epsilon: Probability
    eval_num_envs: PositiveInt
    eval_max_steps: PositiveInt | None
    histogram_period: NonNegativeInt
    video_period: NonNegativeInt
    unit: ClassVar[str]
    """The name of a tick."""

    @property
    @abstractmethod
    def total(self) -> int:
        """Return the ticks of the whole run."""

    @property
    def planned_updates(self) -> int:
        """Return the approximate number of updates in the whole run."""
        return (self.total // self.train_period) * self.updates_per_train

    @abstractmethod
    def ticks(self, waiting: Bools) -> int:
        """Return the ticks that pass now; if any pass, the waiting environments start new episodes.

        Args:
            waiting: True where the episode has ended [K, E].
        """


@dataclass(frozen=True, kw_only=True)
class EpisodesClock(Clock):
    """A tick is one episode of every seed; a seed that has finished its episode waits for the others."""

    total_episodes: PositiveInt
    unit = "episode"

    @property
    def total(self) -> int:
        return self.total_episodes

    def ticks(self, waiting: Bools) -> int:
        return whole_rounds(waiting)


@dataclass(frozen=True, kw_only=True)
class StepsClock(Clock):
    """A tick is one environment step of every seed."""

    total_steps: PositiveInt
    unit = "step"

    @property
    def total(self) -> int:
        return self.total_steps

    def ticks(self, waiting: Bools) -> int:
        return int(waiting.shape[1])


def whole_rounds(waiting: Bools) -> int:
    """Return 1 if all environments wait [K, E], which ends a round of one episode in each; 0 if not."""
    return int(np.count_nonzero(waiting) == waiting.size)
