"""The collector: it acts, steps the environments, and knows which of them wait."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dqn.agent import Actor
from dqn.env import Environments
from dqn.types import Array, Bools, Floats, Row


class Collected(NamedTuple):
    """One step of all environments."""

    row: Row
    """As memory stores it."""
    raw_reward: Floats
    """As the environments gave it [K, E]; 0 where one is paused."""
    ended: Bools
    """The episodes that ended in their environment [K, E]."""
    ticks: int
    """Ticks of the clock that passed."""


class Collector:
    """Plays in all environments of all seeds, one step at a time.

    An environment is active or it waits. What happens where an episode ends with a step:

    | the step                  | row.terminated | row.truncated | ended | then                         |
    |---------------------------|----------------|---------------|-------|------------------------------|
    | terminates                | True           | False         | True  | waits; restarts with the tick |
    | meets the time limit      | False          | True          | True  | waits; restarts with the tick |
    | is the iteration's last   | False          | True          | False | the environments are closed  |

    On the steps clock every step is a tick, so nothing ever waits; on the episodes clock an environment is
    paused until all others have ended their episodes too.

    Args:
        env: the environments.
        actor: chooses the actions.
        ticks: the ticks that pass, given which environments wait [K, E].
    """

    def __init__(self, *, env: Environments, actor: Actor, ticks: Callable[[Bools], int]) -> None:
        self.env, self.actor, self._ticks = env, actor, ticks

    def start(self, iteration: int) -> None:
        """Make all environments, seeded for `iteration`."""
        self._begin(self.env.reset(iteration))

    def _begin(self, obs: Array) -> None:
        self._obs = obs
        self._waiting = np.zeros(obs.shape[:2], bool)
        self._play(~self._waiting)

    def _play(self, active: Bools) -> None:
        self._active = active
        self._playing: Bools = np.any(active, axis=-1)

    def collect(self, epsilon: float, left: int) -> Collected:
        """Step every active environment once, and begin or pause episodes where that is due.

        Args:
            epsilon: the probability of a random action.
            left: ticks to the end of the iteration, which cuts every episode.
        """
        obs, active = self._obs, self._active
        action = self.actor.act(obs, epsilon, self._playing)
        step = self.env.step(action)
        self._obs = step.next_obs
        self._waiting |= step.ended
        ticks = self._ticks(self._waiting)
        cuts = ticks == left
        truncated = active & ~step.terminated if cuts else step.truncated
        row = Row(obs, action, step.reward, step.next_obs, step.terminated, truncated, active)
        if ticks:
            if not cuts and np.count_nonzero(self._waiting):
                self._begin(self.env.restart(self._waiting))
        elif np.count_nonzero(step.ended):
            self.env.pause(step.ended)
            self._play(~self._waiting)
        return Collected(row, step.raw_reward, step.ended, ticks)
