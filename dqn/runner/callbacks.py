"""Callbacks: custom code that a run calls at fixed moments, and what it can read, log and ask for there."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from dqn.agent import Policy
from dqn.env.spec import numbers_of
from dqn.errors import UserError, one_line
from dqn.tracking.logger import check_tag
from dqn.types import Array, EnvSpec, Episode, Floats, Integers, Update

if TYPE_CHECKING:
    from dqn.runner.runner import Runner

State = dict[str, Any]

LOGGING_HOOKS = ("on_episode", "on_update", "on_evaluation", "on_iteration")
"""Hooks in which a callback can log: a resumed run repeats exactly these."""
LARGEST = 1e100
"""Largest number that readers of metrics.jsonl accept."""


class Training:
    """The run that calls a callback, at the moment of the call."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._hook = ""
        self._episode: Episode | None = None

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._runner.logger.folder

    @property
    def seeds(self) -> list[int]:
        """The K seeds."""
        return list(self._runner.counters.seeds)

    @property
    def spec(self) -> EnvSpec:
        """Observations and actions of the environment."""
        return self._runner.env.spec

    @property
    def policy(self) -> Policy:
        """The Q-network of all seeds."""
        return self._runner.agent.policy

    @property
    def unit(self) -> str:
        """The name of the clock's tick: step or episode."""
        return self._runner.clock.unit

    @property
    def tick(self) -> int:
        """Ticks of the clock that passed."""
        return self._runner.tick

    @property
    def total(self) -> int:
        """Ticks of the whole run."""
        return self._runner.clock.total

    @property
    def iteration(self) -> int:
        """Finished iterations."""
        return self._runner.iteration

    @property
    def updates(self) -> int:
        """Updates so far."""
        return self._runner.counters.updates

    @property
    def steps(self) -> Integers:
        """Environment steps of each seed [K]."""
        return self._runner.counters.steps

    @property
    def episodes(self) -> Integers:
        """Finished episodes of each seed [K]."""
        return self._runner.counters.episodes.copy()

    @property
    def returns(self) -> list[float]:
        """Mean return of each seed's latest 100 episodes, without the seeds that finished none."""
        return self._runner.counters.recent_returns()

    @property
    def epsilon(self) -> float:
        """The probability of a random action."""
        return float(self._runner.epsilon(self._runner.tick))

    def observations(self, count: int) -> Array:
        """Return stored observations of each seed [K, count, ...], evenly spaced from oldest to latest."""
        return self._runner.memory.observations(count)

    def log(self, tag: str, value: Any) -> None:
        """Log a number under a tag of yours, to metrics.jsonl, the trackers and the progress bar.

        It belongs to the present environment step; of several numbers for one step and tag the last counts.
        A number that is not finite, or beyond 1e100, is left out.

        Args:
            tag: GROUP/NAME, such as mine/weight_norm; the groups train, eval, seeds and time are taken.
            value: a number of all seeds, or an array or tensor [K] with one for each. In `on_episode` it is
                one number, of the seed that played the episode.

        Raises:
            UserError: the tag or the value is wrong, or the hook is none of on_episode, on_update,
                on_evaluation and on_iteration.
        """
        if self._hook not in LOGGING_HOOKS:
            raise UserError(f"log works in {', '.join(LOGGING_HOOKS)}; a resumed run could not repeat this")
        check_tag(tag)
        seeds = len(self._runner.counters.seeds)
        numbers = numbers_of(value.detach().cpu() if isinstance(value, Tensor) else value)
        shapes = [()] if self._episode else [(), (seeds,)]
        if numbers is None or numbers.shape not in shapes:
            given = type(value).__name__ if numbers is None else f"the shape {list(numbers.shape)}"
            or_array = "" if self._episode else f", or one for each seed [{seeds}]"
            raise UserError(f"log({one_line(tag)!r}, ...): should be a number{or_array}; it is {given}")
        xs = np.broadcast_to(numbers, seeds).astype(np.float64)
        xs[~(np.abs(xs) <= LARGEST)] = np.nan
        logger = self._runner.logger
        if self._episode:
            logger.custom(self._episode.seed_index, self._episode.at, tag, float(xs[0]))
        else:
            for k, (at, x) in enumerate(zip(self._runner.counters.positions, xs.tolist(), strict=True)):
                logger.custom(k, at, tag, x)

    def stop(self, reason: str) -> None:
        """End the run after this iteration: with its evaluation, its checkpoint and a result.

        Args:
            reason: is recorded as `stopped` in status.json. A run that was stopped is finished; a larger
                total does not continue it.

        Raises:
            UserError: the hook is on_start, on_checkpoint or on_end, from which no checkpoint would have it.
        """
        if self._hook in ("on_start", "on_checkpoint", "on_end"):
            raise UserError(f"stop works in {', '.join(LOGGING_HOOKS)}; no checkpoint would have it here")
        self._runner.stopped = one_line(reason)


class Callback:
    """Base class of callbacks. Its hooks do nothing; a subclass overrides those that it needs.

    A run calls the hooks of all callbacks in the order of the list `callbacks`. The constructor of a callback
    is called for checks too; open files and connections in `on_start`.
    """

    update_period: int = 0
    """Updates between two calls of `on_update`; 0: it is never called."""

    def on_start(self, run: Training) -> None:
        """Called before the first iteration of a process; `run.tick` is above 0 in a resumed run."""

    def on_episode(self, run: Training, episode: Episode, info: Mapping[str, Any]) -> None:
        """Called after each training episode.

        Args:
            run: the run.
            episode: seed, position, return and length.
            info: the `info` that the environment gave with the episode's last step. From an environment in a
                process (env.vectorization=async) it has only entries that can be pickled.
        """

    def on_update(self, run: Training, update: Update) -> None:
        """Called after every `update_period`-th update, with its results for each seed."""

    def on_evaluation(self, run: Training, returns: Floats) -> None:
        """Called after each periodic evaluation, with the returns [K, episodes]."""

    def on_iteration(self, run: Training) -> None:
        """Called after each iteration and its evaluation, before the checkpoint."""

    def on_checkpoint(self, run: Training) -> None:
        """Called after each checkpoint was written.

        What changes in the callback here is not in that checkpoint.
        """

    def on_end(self, run: Training, result: float | None) -> None:
        """Called once at the end of a process; `result` is None if the run was interrupted or failed."""

    def state_dict(self) -> State:
        """Return what a resumed run needs: dicts and lists of numbers, texts, arrays and tensors."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned; arrays come back as tensors, tuples as lists."""
