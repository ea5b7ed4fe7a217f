"""Paint the learning curve of a run: training return, interquartile mean over seeds and its interval.

python scripts/curve.py RUN PICTURE.png [--windows 30]
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dqn.stats import Estimate, estimate
from dqn.types import Floats

FORMATS = (".png", ".svg", ".pdf")
BLUE, GREY = "#0072B2", "#888888"  # told apart by every kind of colour vision, and in print
CLOCKS = {
    "total_episodes": ("episode", "episodes", "mean of {:,.0f} episodes"),
    "total_steps": ("step", "environment steps per seed", "mean of the episodes that end in {:,.0f} steps"),
}
"""What counts the time of a run: its field in metrics.jsonl, the axis, and what each point is."""


def window_means(metrics: Path, field: str, edges: Floats) -> Floats:
    """Return the mean training return of the episodes that end in each window (edges[i], edges[i + 1]].

    A window in which none ends has nan.
    """
    lines = map(json.loads, metrics.read_text().splitlines())
    ended = [(line[field], line["train/return"]) for line in lines if "train/return" in line]
    ticks, returns = np.array(ended, float).reshape(-1, 2).T
    window = np.searchsorted(edges, ticks) - 1
    inside = (window >= 0) & (window < len(edges) - 1)
    counts, sums = (
        np.bincount(window[inside], weights, len(edges) - 1) for weights in (None, returns[inside])
    )
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def summarize(means: Floats) -> Floats:
    """Return the interquartile mean and its 95 % interval [W, 3] of the seeds' means [K, W]."""
    rows = []
    for scores in means.T:
        there = scores[~np.isnan(scores)]
        if len(there) == 0:
            rows.append(Estimate(np.nan, np.nan, np.nan))
            continue
        rows.append(estimate(there, generator=np.random.default_rng(0)))
    return np.array(rows)


def paint(run: Path, picture: Path, windows: int) -> None:
    """Write the picture."""
    from matplotlib.figure import Figure

    config: dict[str, Any] = yaml.safe_load((run / ".hydra" / "config.yaml").read_text())
    key = next(key for key in CLOCKS if key in config["runner"])
    field, axis, point = CLOCKS[key]
    edges = np.linspace(0, config["runner"][key], windows + 1)
    files = [path / "metrics.jsonl" for path in run.glob("seed=*")]
    means = np.array([window_means(file, field, edges) for file in files])
    if np.isnan(means).all():
        sys.exit(f"{run}: no episode has ended there yet")
    middle, low, high = summarize(means).T
    figure = Figure(figsize=(8, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    several = len(files) > 1
    for number, row in enumerate(means if several else ()):
        label = "each seed" if number == 0 else None
        axes.plot(edges[1:], row, color=GREY, linewidth=0.7, alpha=0.6, label=label)
    label = f"interquartile mean of {len(files)} seeds" if several else "one seed"
    axes.plot(edges[1:], middle, color=BLUE, linewidth=2.2, label=label)
    if several:
        label = "its 95 % bootstrap interval"
        axes.fill_between(edges[1:], low, high, color=BLUE, alpha=0.3, linewidth=0, label=label)
    axes.set_title(f"{config['env']['id']}, {config['name']}")
    axes.set_xlabel(axis)
    axes.set_ylabel(f"training return, sum of rewards\n({point.format(edges[1])})")
    axes.set_xlim(0, edges[-1])
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("picture", type=Path, help="the file to write, .png, .svg or .pdf")
    parser.add_argument("--windows", type=int, default=30, help="points of the curve")
    arguments = parser.parse_args()
    if not (arguments.run / ".hydra" / "config.yaml").exists():
        sys.exit(f"{arguments.run}: not a run folder")
    if arguments.windows < 1:
        sys.exit(f"--windows {arguments.windows}: should be at least 1")
    if arguments.picture.suffix not in FORMATS:
        sys.exit(f"{arguments.picture}: should end in {', '.join(FORMATS)}")
    if not arguments.picture.absolute().parent.is_dir():
        sys.exit(f"{arguments.picture.parent}: no such folder")
    try:
        paint(arguments.run, arguments.picture, arguments.windows)
    except ModuleNotFoundError as error:
        sys.exit(f'a package is missing ({error}): pip install "dqn[report]"')


if __name__ == "__main__":
    main()
