"""The progress of a run as text: for the log, the progress bar and the status file."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dqn.stats import interquartile_mean

if TYPE_CHECKING:
    from dqn.runner.runner import Runner


def log_line(runner: "Runner", steps_per_second: float) -> str:
    """Return the log line of an iteration that just ended."""
    total = runner.clock.total
    parts = [f"{runner.clock.unit} {runner.tick:>{len(str(total))}} of {total}", *training(runner)]
    if runner.is_due(runner.clock.eval_period) and runner.counters.evaluation is not None:
        parts.append(f"evaluation {runner.result():6.1f}")
    return " | ".join([*parts, f"{steps_per_second:,.0f} steps/s"])


def bar_line(runner: "Runner") -> str:
    """Return the line below the progress bar."""
    parts = training(runner)
    if np.isfinite(runner.logger.loss).any():
        parts.append(f"loss {np.nanmean(runner.logger.loss):.3g}")
    for tag, values in runner.logger.latest.items():
        if np.isfinite(values).any():
            parts.append(f"{tag} {np.nanmean(values):.3g}")
    return " | ".join([*parts, f"{runner.counters.steps_per_second():,.0f} steps/s"])


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
