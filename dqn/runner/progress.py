"""The progress of a run as text: for the log, the progress bar and the status file."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dqn.runner.evaluator import Watch
from dqn.stats import interquartile_mean
from dqn.tracking.progress import Progress

if TYPE_CHECKING:
    from dqn.runner.runner import Runner

SPEED_SECONDS = 60.0
"""Seconds of training over which the speed for the time left is averaged, weighted exponentially."""


class RunProgress:
    """Shows how far a run is and what it does; estimates its time left.

    The time left is that of training at its latest speed, and of evaluations as long as the latest one.

    Args:
        display: shows ticks, what happens, and the time left.
    """

    def __init__(self, display: Progress) -> None:
        self._display = display
        self._ticks, self._seconds = 0.0, 0.0
        """Ticks and seconds of training, of which older ones weigh less."""
        self._tick, self._time = 0, 0.0
        """The latest measurement."""
        self._evaluation = 0.0
        """Seconds of the latest evaluation."""

    def start(self, tick: int) -> None:
        self._display.start(tick)

    def start_iteration(self, tick: int) -> None:
        """Measure the speed of training from here on."""
        self._tick, self._time = tick, time.monotonic()

    def _measure(self, tick: int) -> None:
        now = time.monotonic()
        kept = math.exp((self._time - now) / SPEED_SECONDS)
        self._ticks = kept * self._ticks + tick - self._tick
        self._seconds = kept * self._seconds + now - self._time
        self._tick, self._time = tick, now

    def train(self, runner: "Runner") -> None:
        """Show the returns and the speed of training."""
        if self._display.due():
            self._measure(runner.tick)
            self._show(runner, bar_line(runner))

    def end_iteration(self, runner: "Runner") -> None:
        """Stop measuring the speed of training."""
        self._measure(runner.tick)

    def log(self, runner: "Runner") -> None:
        """Log the line of the iteration that just ended."""
        self._display.log(log_line(runner), self.left(runner))
        if self._display.due():
            self._show(runner, bar_line(runner))

    def _show(self, runner: "Runner", text: str) -> None:
        self._display.show(runner.tick, text, self.left(runner))

    @contextmanager
    def evaluation(self, runner: "Runner") -> Iterator[Watch]:
        """Yield a function that shows the progress of an evaluation; measure the time of the body."""
        start = time.monotonic()

        def watch(done: int, total: int, step: int) -> None:
            if self._display.due():
                self._show(runner, f"evaluating {done:,} of {total:,} episodes, step {step:,}")

        yield watch
        self._evaluation = time.monotonic() - start

    def filming(self, runner: "Runner") -> Callable[[int], None]:
        """Return a function that shows the progress of a video."""

        def watch(step: int) -> None:
            if self._display.due():
                self._show(runner, f"filming an episode, step {step:,}")

        return watch

    def left(self, runner: "Runner") -> float | None:
        """Return the seconds that the run still takes, None while its speed is unknown."""
        if not self._ticks:
            return None
        training = (runner.clock.total - runner.tick) * self._seconds / self._ticks
        return training + evaluations_left(runner) * self._evaluation

    def close(self) -> None:
        self._display.close()


def evaluations_left(runner: "Runner") -> int:
    """Return the number of evaluations that follow, without the present one."""
    clock, iteration = runner.clock, runner.iteration
    iterations = clock.total // clock.iteration_length
    if clock.eval_period == 0:
        return int(iteration < iterations)
    is_extra = iterations % clock.eval_period > 0 and iteration < iterations  # the final one, if not periodic
    return iterations // clock.eval_period - iteration // clock.eval_period + is_extra


def log_line(runner: "Runner") -> str:
    """Return the log line of an iteration that just ended."""
    total = runner.clock.total
    parts = [f"{runner.clock.unit} {runner.tick:>{len(str(total))}} of {total}", *training(runner)]
    if runner.is_due(runner.clock.eval_period) and runner.counters.evaluation is not None:
        parts.append(f"evaluation {runner.result():6.1f}")
    return " | ".join([*parts, speed(runner)])


def bar_line(runner: "Runner") -> str:
    """Return the line below the progress bar."""
    parts = training(runner)
    if np.isfinite(runner.logger.loss).any():
        parts.append(f"loss {np.nanmean(runner.logger.loss):.3g}")
    for tag, values in runner.logger.custom_values.items():
        if np.isfinite(values).any():
            parts.append(f"{tag} {np.nanmean(values):.3g}")
    stored = int(runner.counters.steps.min())
    if stored < runner.starts:
        parts.append(f"learning starts after {runner.starts:,} transitions, {stored:,} are stored")
    return " | ".join([*parts, speed(runner)])


def speed(runner: "Runner") -> str:
    """Return the environment steps per second of the present or latest iteration, without its evaluation."""
    return f"{runner.counters.steps_per_second():,.0f} steps/s"


def training(runner: "Runner") -> list[str]:
    """Return the latest training returns, with their range if there are several seeds, and epsilon."""
    returns = runner.counters.recent_returns()
    spread = f" ({min(returns):.1f} to {max(returns):.1f})" if len(returns) > 1 else ""
    latest = [f"return {interquartile_mean(returns):6.1f}{spread}"] if returns else []
    return [*latest, f"epsilon {runner.epsilon(runner.tick):.3f}"]


def status(runner: "Runner") -> dict[str, Any]:
    """Return the progress as recorded in status.json."""
    return {
        "unit": runner.clock.unit,
        "tick": runner.tick,
        "total": runner.clock.total,
        "iteration": runner.iteration,
        "updates": runner.counters.updates,
        "steps": runner.counters.steps.tolist(),
        "episodes": runner.counters.episodes.tolist(),
    }
