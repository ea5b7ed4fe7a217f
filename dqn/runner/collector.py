"""The collector: acts, steps the environments, and pauses or restarts those whose episode ended."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dqn.agent import Actor
from dqn.env import Environments
from dqn.types import Array, Bools, Floats, Row


class Collected(NamedTuple):
    """One step of all environments."""

    row: Row
    """The transitions, as memory stores them."""
    raw_reward: Floats
    """Rewards before clipping and scaling [K, E]; 0 for paused environments."""
    ended: Bools
    """True where the environment ended its episode [K, E]."""
    ticks: int
    """Ticks of the clock that passed."""


class Collector:
    """Plays in all environments of all seeds, one step at a time.

    An environment is active, or it waits for the next tick to start a new episode. How an episode ends:

    | its last step           | row.terminated | row.truncated | ended | then                              |
    |-------------------------|----------------|---------------|-------|-----------------------------------|
    | terminates              | True           | False         | True  | it waits; the tick restarts it    |
    | reaches the time limit  | False          | True          | True  | it waits; the tick restarts it    |
    | ends the iteration      | False          | True          | False | the next `start` replaces it      |
    | loses a life            | False          | False         | False | it continues; row.life_lost: True |

    On the steps clock every step is a tick, so the restart follows at once. On the episodes clock the
    environment is paused until the episodes of all others have ended too.

    Args:
        env: the environments.
        actor: chooses the actions.
        ticks: returns the ticks that pass, given which environments wait [K, E].
    """

    def __init__(self, *, env: Environments, actor: Actor, ticks: Callable[[Bools], int]) -> None:
        self.env, self.actor, self._ticks = env, actor, ticks

    def start(self, iteration: int) -> None:
        """Make new environments, seeded for `iteration`."""
        obs = self.env.reset(iteration)
        self.actor.start(np.ones(obs.shape[:2], np.bool_))
        self._start_episodes(obs)

    def _start_episodes(self, obs: Array) -> None:
        self._obs, self._mask = obs, self.env.mask
        self._waiting = np.zeros(obs.shape[:2], bool)
        self._activate(~self._waiting)

    def _restart(self, where: Bools) -> None:
        self.actor.start(where)
        self._start_episodes(self.env.restart(where))

    def _activate(self, active: Bools) -> None:
        self._active = active
        self._playing: Bools = np.any(active, axis=-1)

    def cut(self) -> int:
        """Start a new episode in every environment; return how many environments had not ended theirs."""
        playing = int(np.count_nonzero(~self._waiting))
        self._restart(np.ones_like(self._waiting))
        return playing

    def collect(self, epsilon: float, left: int) -> Collected:
        """Step every active environment once; restart or pause those whose episode has ended.

        Args:
            epsilon: the probability of a random action.
            left: ticks until the iteration ends, which truncates every episode.
        """
        obs, mask, active = self._obs, self._mask, self._active
        action = self.actor.act(obs, epsilon, self._playing, mask)
        step = self.env.step(action)
        self.actor.acted(action, step.reward)
        self._obs, self._mask = step.next_obs, step.next_mask
        self._waiting |= step.ended
        ticks = self._ticks(self._waiting)
        is_last = ticks == left
        truncated = active & ~step.terminated if is_last else step.truncated
        row = Row(
            obs=obs,
            action=action,
            reward=step.reward,
            next_obs=step.next_obs,
            terminated=step.terminated,
            truncated=truncated,
            life_lost=step.life_lost,
            active=active,
            carry=self.actor.carry,
            mask=mask,
            next_mask=step.next_mask,
        )
        if ticks:
            if not is_last and np.count_nonzero(self._waiting):
                self._restart(self._waiting)
        elif np.count_nonzero(step.ended):
            self.env.pause(step.ended)
            self._activate(~self._waiting)
        return Collected(row, step.raw_reward, step.ended, ticks)
