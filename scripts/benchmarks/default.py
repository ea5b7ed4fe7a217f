"""The default experiment beside the document's loop: cost of an environment step, and returns."""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import limits
from benchmarks.loop import lines_of, steps_of_iterations
from benchmarks.processes import run
from benchmarks.subjects import Call, built, paired
from benchmarks.table import Line
from benchmarks.whole import Setting

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
        steps = steps_of_iterations(runner, warm_up + setting.repeats)[warm_up:]
    updates = statistics.fmean(step.updates for step in steps)
    bounds: list[Call] = [limits.bare_step(), limits.action_products(SIZES, 1)]
    bounds.append(limits.products(SIZES, BATCH_SIZE, 1))
    alone, action, update = paired(bounds, setting.repeats, 0.01 if setting.quick else 0.2)
    update = [cost * updates for cost in update]
    shares = {"CartPole alone": alone, "products of an action": action, "products of updates": update}
    shares["these three together"] = [sum(costs) for costs in zip(alone, action, update, strict=True)]
    return lines_of(steps, "default run", shares)


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
