"""Run the recipes of classic control for ten seeds each and print how they end.

python scripts/recipes.py [RECIPE ...] [--jobs 2] [--folder outputs/recipes]

A recipe that was interrupted goes on, one that has finished is only read: the same command prints it again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dqn.stats import estimate

SEEDS = 10
LAST = 100
"""Training episodes in the mean return that a run ends with."""

PUBLISHED = {
    "cartpole": "none (this project's values)",
    "cartpole_cleanrl": "488.7 ± 16.1, training return, 3 seeds (CleanRL)",
    "cartpole_zoo": "500.0, 1 run (rl-zoo3)",
    "acrobot": "-76.6, 1 run (rl-zoo3)",
    "mountaincar": "-100.8, 1 run (rl-zoo3)",
    "lunarlander": "154.4, LunarLander-v2, 1 run (rl-zoo3)",
}
"""What the sources of the settings report; rl-zoo3's are deterministic evaluations."""


def train(words: list[str], run: Path) -> Path:
    """Train ten seeds in a process of their own, or what is left of it; return the run folder."""
    script = Path(__file__).with_name("train.py")
    words = [*words, "seed=0", f"num_seeds={SEEDS}", f"hydra.run.dir={run}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr}{done.stdout}")
    return run


def read_status(run: Path) -> dict[str, Any]:
    status: dict[str, Any] = json.loads((run / "status.json").read_text())
    return status


def final_scores(run: Path) -> list[float]:
    """Return each seed's mean return in the final evaluation."""
    return [statistics.fmean(returns) for returns in read_status(run)["evaluation"].values()]


def row(recipe: str, run: Path) -> str:
    """Return a finished run as a row of the table."""
    finals = final_scores(run)
    training = [last_training_return(path) for path in sorted(run.glob("seed=*/metrics.jsonl"))]
    steps = read_status(run)["progress"]["steps"][0]
    cells = [f"`+experiment={recipe}`", f"{steps:,}", with_interval(finals)]
    cells += [f"{min(finals):.1f} to {max(finals):.1f}", with_interval(training), PUBLISHED[recipe]]
    return f"| {' | '.join(cells)} |"


def last_training_return(metrics: Path) -> float:
    lines = (json.loads(line) for line in metrics.read_text().splitlines())
    returns = [line["train/return"] for line in lines if "train/return" in line]
    return statistics.fmean(returns[-LAST:])


def with_interval(scores: list[float]) -> str:
    value, low, high = estimate(scores, generator=np.random.default_rng(0))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


class Arguments(NamedTuple):
    names: list[str]
    jobs: int
    folder: Path


def parse(kind: str, known: list[str], description: str | None) -> Arguments:
    """Return which of the `known` names of a kind to run, all without any, and how; unknown ones end it."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar=kind.upper(), help=f"any of {', '.join(known)}")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--folder", type=Path, default=Path(f"outputs/{kind}s"), help="where the runs lie")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(known)
    if unknown:
        parser.error(f"no such {kind}: {', '.join(sorted(unknown))}")
    return Arguments(arguments.names or known, arguments.jobs, arguments.folder)


def main() -> None:
    arguments = parse("recipe", list(PUBLISHED), __doc__)
    recipes = arguments.names
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = list(
            pool.map(lambda recipe: train([f"+experiment={recipe}"], arguments.folder / recipe), recipes)
        )
    print("| recipe | steps | evaluation | of single seeds | training | published |")
    print("|---|---|---|---|---|---|")
    for recipe, run in zip(recipes, runs, strict=True):
        print(row(recipe, run))


if __name__ == "__main__":
    main()
