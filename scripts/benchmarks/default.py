"""The default experiment beside the document's loop: cost of an environment step, and returns."""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import limits
from benchmarks.processes import run
from benchmarks.subjects import Call, built, paired
from benchmarks.table import Line
from benchmarks.whole import Setting
from dqn.runner import Runner

SCRIPTS = Path(__file__).parents[1]
EPISODES = 3000
QUICK_EPISODES = 300
SIZES, BATCH_SIZE = (4, 128, 2), 256
WARM_UP, QUICK_WARM_UP = 15, 2
"""Iterations before the profile: half of the run, so that episodes have reached their usual length."""


class Learned(NamedTuple):
    """Cost and returns of a run of the default experiment."""

    step: float  # CPU microseconds of an environment step, whole process
    best: float  # mean return of 100 successive training episodes
    last: float  # mean return of the last 100


def default(setting: Setting) -> list[Line]:
    """Whole runs of the default experiment, beside the document's loop; also prints their returns."""
    episodes = QUICK_EPISODES if setting.quick else EPISODES
    print("  seed: best and last mean return of 100 episodes, ours; the document's loop", flush=True)
    mine, others = [], []
    for seed in range(setting.repeats):
        mine.append(ours(seed, episodes, setting.overrides))
        others.append(document(seed, episodes))
        returns = [f"{side[-1].best:.1f} {side[-1].last:.1f}" for side in (mine, others)]
        print(f"  {seed}: {'; '.join(returns)}", flush=True)
    work = f"default run, {episodes:,} episodes, per environment step"
    a, b = ([learned.step for learned in side] for side in (mine, others))
    line = Line(work=work, beside="the document's loop", ours=a, theirs=b, unit="µs CPU", most=0.35)
    return [line, *profile(setting)]


def profile(setting: Setting) -> list[Line]:
    """Measure the parts of a step of the learning loop, and their lower bounds, as shares of the step."""
    warm_up = QUICK_WARM_UP if setting.quick else WARM_UP
    with built([f"runner.total_episodes={EPISODES}", *setting.overrides]) as runner:
        runner.open()
        parts = watched(runner)
        steps = [step_of_iteration(runner, parts) for _ in range(warm_up + setting.repeats)][warm_up:]
    updates = statistics.fmean(step.updates for step in steps)
    shares = {name: [step.parts[name] for step in steps] for name in [*parts, "loop"]}
    bounds: list[Call] = [limits.bare_step(), limits.action_products(SIZES, 1)]
    bounds.append(limits.products(SIZES, BATCH_SIZE, 1))
    alone, action, update = paired(bounds, setting.repeats, 0.01 if setting.quick else 0.2)
    update = [cost * updates for cost in update]
    shares |= {"CartPole alone": alone, "products of an action": action, "products of updates": update}
    shares["these three together"] = [sum(costs) for costs in zip(alone, action, update, strict=True)]
    line = partial(Line, beside="the whole step", theirs=[step.whole for step in steps], unit="µs CPU")
    return [line(work=f"default run, its loop: {name}", ours=values) for name, values in shares.items()]


class StepCost(NamedTuple):
    """Means over the steps of an iteration, in CPU microseconds."""

    whole: float
    parts: dict[str, float]  # "loop" is the rest
    updates: float  # per step


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


def ours(seed: int, episodes: int, overrides: Sequence[str]) -> Learned:
    command = [sys.executable, str(SCRIPTS / "train.py"), f"runner.total_episodes={episodes}"]
    with tempfile.TemporaryDirectory() as folder:
        cost, _ = run([*command, f"seed={seed}", "hydra.run.dir=run", *overrides], Path(folder))
        lines = (Path(folder) / "run" / f"seed={seed}" / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    best, last = best_and_last([line["train/return"] for line in metrics if "train/return" in line])
    return Learned(cost.cpu / metrics[-1]["step"] * 1e6, best, last)


def document(seed: int, episodes: int) -> Learned:
    command = [sys.executable, str(SCRIPTS / "document_loop.py"), "2", str(seed), str(episodes)]
    cost, text = run(command, SCRIPTS)
    _, _, last, _, _, best, _, steps = text.split()[-8:]
    return Learned(cost.cpu / int(steps) * 1e6, float(best), float(last))


def best_and_last(returns: Sequence[float], window: int = 100) -> tuple[float, float]:
    """Return the best and the last mean of `window` successive returns."""
    means = [statistics.fmean(returns[i : i + window]) for i in range(len(returns) - window + 1)]
    return max(means), means[-1]
