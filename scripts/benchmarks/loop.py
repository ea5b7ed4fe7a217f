"""The parts of a step of the learning loop, in this process."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from benchmarks.subjects import trained
from benchmarks.table import Line
from benchmarks.whole import Setting
from benchmarks.works import Work
from dqn.runner import Runner


def loop(work: Work, setting: Setting) -> list[Line]:
    """Measure the parts of a step of a work's loop, as shares of the step."""
    with trained(work, setting.overrides) as runner:
        return lines_of(steps_of_iterations(runner, setting.repeats), work.name, {})


class StepCost(NamedTuple):
    """Means over the steps of an iteration, in CPU microseconds."""

    whole: float
    parts: dict[str, float]  # "loop" is the rest
    updates: float  # per step


def lines_of(steps: Sequence[StepCost], name: str, others: Mapping[str, Sequence[float]]) -> list[Line]:
    """Return the parts of steps as lines, then other costs."""
    costs = {part: [step.parts[part] for step in steps] for part in steps[0].parts}
    line = partial(Line, beside="the whole step", theirs=[step.whole for step in steps], unit="µs CPU")
    return [line(work=f"{name}, its loop: {part}", ours=ours) for part, ours in {**costs, **others}.items()]


def steps_of_iterations(runner: Runner, count: int) -> list[StepCost]:
    """Train for some iterations; return the cost of a step of each."""
    parts = watched(runner)
    return [step_of_iteration(runner, parts) for _ in range(count)]


def step_of_iteration(runner: Runner, parts: dict[str, "Watch"]) -> StepCost:
    """Train for an iteration and return the cost of one of its steps."""
    before = {name: watch.seconds for name, watch in parts.items()}
    steps, updates, start = runner.counters.steps.sum(), runner.counters.updates, time.process_time()
    runner.train()
    seconds = time.process_time() - start
    runner.iteration += 1
    steps = int(runner.counters.steps.sum() - steps)
    costs = {name: (watch.seconds - before[name]) / steps * 1e6 for name, watch in parts.items()}
    whole = seconds / steps * 1e6
    costs["loop"] = whole - sum(costs.values())
    return StepCost(whole, costs, (runner.counters.updates - updates) / steps)


def watched(runner: Runner) -> dict[str, "Watch"]:
    """Return watches of the parts of a step."""
    env, agent, memory, counters = runner.env, runner.agent, runner.memory, runner.counters
    return {
        "environment": Watch((env, "step"), (env, "restart")),
        "action": Watch((agent.actor, "act")),
        "update": Watch((agent, "update"), (agent, "sync_target")),
        "memory": Watch((memory, "push"), (memory, "sample"), (memory, "update_priorities")),
        "log": Watch((counters, "count"), (runner.logger, "episode"), (runner.logger, "update")),
    }


class Watch:
    """Sums the CPU time of methods of objects."""

    def __init__(self, *methods: tuple[Any, str]) -> None:
        self.seconds = 0.0
        for owner, name in methods:
            setattr(owner, name, partial(self._timed, getattr(owner, name)))

    def _timed(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        result = method(*args, **kwargs)
        self.seconds += time.process_time() - start
        return result
