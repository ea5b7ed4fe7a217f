"""The default experiment beside the document's loop: cost of an environment step, and returns."""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import run
from benchmarks.table import Line
from benchmarks.whole import Setting

SCRIPTS = Path(__file__).parents[1]
EPISODES = 3000
QUICK_EPISODES = 300


class Learned(NamedTuple):
    """A run of the exercise."""

    step: float  # CPU microseconds of an environment step, whole process
    best: float  # mean return of 100 successive training episodes
    last: float  # the same of the last 100


def default(setting: Setting) -> list[Line]:
    """Whole runs of the default experiment, beside the document's loop; prints what they learn, too."""
    episodes = QUICK_EPISODES if setting.quick else EPISODES
    print("  seed: best and last mean return of 100 episodes, ours; the document's loop", flush=True)
    mine, others = [], []
    for seed in range(setting.repeats):
        mine.append(ours(seed, episodes, setting.words))
        others.append(document(seed, episodes))
        told = [f"{side[-1].best:.1f} {side[-1].last:.1f}" for side in (mine, others)]
        print(f"  {seed}: {'; '.join(told)}", flush=True)
    work = f"default run, {episodes:,} episodes, per environment step"
    a, b = ([learned.step for learned in side] for side in (mine, others))
    return [Line(work=work, beside="the document's loop", ours=a, theirs=b, unit="µs CPU", most=0.35)]


def ours(seed: int, episodes: int, words: Sequence[str]) -> Learned:
    command = [sys.executable, str(SCRIPTS / "train.py"), f"runner.total_episodes={episodes}"]
    with tempfile.TemporaryDirectory() as folder:
        cost, _ = run([*command, f"seed={seed}", "hydra.run.dir=run", *words], Path(folder))
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
