"""Counters of a run, which the loop, the result, the status and the logger read."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from dqn.state import assign
from dqn.storage.metrics import RECENT_EPISODES
from dqn.storage.schema import CountersState
from dqn.types import Array, Bools, Episode, Floats, Integers, Position

State = dict[str, Any]


class Counters:
    """Steps, episodes and updates of every seed, and its latest returns.

    The transitions of a seed are numbered by environment: if the seed took n steps before all of its E
    environments were stepped, the transition of environment e is step n + e + 1.

    Args:
        seeds: the K seeds.
        num_envs: environments per seed, E.
    """

    def __init__(self, *, seeds: Sequence[int], num_envs: int) -> None:
        shape = (len(seeds), num_envs)
        self.seeds = seeds
        self.episodes = np.zeros(len(seeds), np.int64)
        self.updates = 0
        self.recent: list[deque[float]] = [deque(maxlen=RECENT_EPISODES) for _ in seeds]
        self.evaluation: dict[str, list[float]] | None = None
        """Returns of the latest evaluation's episodes, by seed."""
        self._returns = np.zeros(shape)
        self._transitions = np.zeros(shape, np.int64)
        self._transitions_before = np.zeros(shape, np.int64)
        """Value of `_transitions` at the start of each present episode."""
        self._start_time, self._start_steps = 0.0, 0
        self._seconds: float | None = None
        """Duration of the latest iteration, None while it lasts."""

    @property
    def steps(self) -> Integers:
        """Return the environment steps of each seed [K], which are also the transitions that it stored."""
        steps: Integers = self._transitions.sum(-1)
        return steps

    @property
    def positions(self) -> list[Position]:
        """Return the position of each seed, [K]."""
        episodes = self.episodes.tolist()
        return [Position(*both, self.updates) for both in zip(self.steps.tolist(), episodes, strict=True)]

    def start_iteration(self) -> None:
        """Forget the unfinished episodes, whose environments are gone."""
        self._returns[:] = 0
        self._transitions_before[:] = self._transitions
        self._start_time, self._start_steps = time.perf_counter(), int(self.steps.sum())
        self._seconds = None

    def end_iteration(self) -> None:
        """Stop the clock of `steps_per_second`, which leaves out what follows, such as an evaluation."""
        self._seconds = time.perf_counter() - self._start_time

    def count(self, *, raw_reward: Floats, active: Bools, ended: Bools) -> list[Episode]:
        """Count one step of all active environments [K, E]; return the episodes that ended with it."""
        self._returns += raw_reward
        episodes = self._count_episodes(ended) if np.count_nonzero(ended) else []
        self._transitions += active
        return episodes

    def _count_episodes(self, ended: Bools) -> list[Episode]:
        steps, episodes = self.steps.tolist(), []
        for k, e in zip(*(axis.tolist() for axis in ended.nonzero()), strict=True):
            self.episodes[k] += 1
            episode_return, transitions = float(self._returns[k, e]), int(self._transitions[k, e]) + 1
            length = transitions - int(self._transitions_before[k, e])
            self._returns[k, e], self._transitions_before[k, e] = 0, transitions
            self.recent[k].append(episode_return)
            at = Position(steps[k] + e + 1, int(self.episodes[k]), self.updates)
            episodes.append(Episode(k, e, at, episode_return, length))
        return episodes

    def evaluated(self, returns: Array) -> None:
        """Remember the returns of an evaluation's episodes [K, episodes]."""
        self.evaluation = {str(seed): returns[k].tolist() for k, seed in enumerate(self.seeds)}

    def recent_returns(self) -> list[float]:
        """Return the mean return of each seed's latest episodes, without the seeds that finished none."""
        return [float(np.mean(returns)) for returns in self.recent if returns]

    def steps_per_second(self) -> float:
        """Return the environment steps of all seeds per second in this iteration."""
        seconds = time.perf_counter() - self._start_time if self._seconds is None else self._seconds
        return (int(self.steps.sum()) - self._start_steps) / seconds

    def state_dict(self) -> CountersState:
        return {
            "transitions": self._transitions.tolist(),
            "episodes": self.episodes.tolist(),
            "updates": self.updates,
            "recent": [list(returns) for returns in self.recent],
            "evaluation": self.evaluation,
        }

    def load_state_dict(self, state: CountersState) -> None:
        assign(self._transitions, state["transitions"])
        assign(self.episodes, state["episodes"])
        self.updates = state["updates"]
        for mine, stored in zip(self.recent, state["recent"], strict=True):
            mine.clear()
            mine.extend(stored)
        self.evaluation = state["evaluation"]
