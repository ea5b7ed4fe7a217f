"""Learning curves: the seeds of a setting at common steps, and their interquartile mean with its interval."""

from typing import NamedTuple

import numpy as np

from dqn.report.read import RunRecord, Seed
from dqn.report.settings import Setting, Task
from dqn.seeding import stream
from dqn.stats import Band, sample_efficiency
from dqn.types import Floats

POINTS = 100
"""Points of a learning curve."""
MAX_RESAMPLES = 2000
BUDGET = 20_000_000
"""Resampled returns of one curve; the more seeds it has, the fewer resamples it needs."""


class Curve(NamedTuple):
    """A piece of a learning curve, over steps that the same seeds have reached."""

    x: Floats  # [T]
    band: Band
    seeds: Floats  # [K, T], the returns of these seeds
    complete: bool
    """Whether the piece has all seeds of the setting."""


def curves_of(setting: Setting, kind: str, task: Task) -> list[Curve]:
    """Return the pieces of a setting's learning curve, over the unit of its task.

    The curve of `kind` "training" has the mean return of the episodes that ended in each `bin_width` of
    the task's time, that of "evaluation" the latest evaluation.
    """
    found, unit = list(setting.seeds.values()), task.unit
    if not found or not task.last:
        return []
    if kind == "training":
        x = np.linspace(0, task.last, round(task.last / bin_width(task)) + 1)[1:]
        rows = [binned(seed, x, unit) for _, seed in found]
    else:
        series = [evaluations(run, seed, unit) for run, seed in found]
        x = np.unique(np.concatenate([xs for xs, _ in series]))
        if not len(x):
            return []
        x = x[np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int))]
        rows = [latest(xs, ys, x, end=max(xs, default=0.0)) for xs, ys in series]
    return pieces(x, np.array(rows))


def bin_width(task: Task) -> float:
    """Return the steps or episodes of a point of a training curve: a hundredth of the task's, or 1."""
    return max(1.0, task.last / POINTS)


def binned(seed: Seed, x: Floats, unit: str) -> Floats:
    """Return the mean return [T] of the episodes that ended in each interval up to x [T].

    An interval without an episode repeats the one before. NaN before the first episode's end and after the
    seed's last line.
    """
    bins = np.searchsorted(x, seed.train.axis(unit))
    number = np.bincount(bins, minlength=len(x))[: len(x)]
    total = np.bincount(bins, weights=seed.train.returns, minlength=len(x))[: len(x)]
    full = number > 0
    end = np.searchsorted(x[:-1], seed.end[unit == "episode"])
    return latest(x[full], total[full] / number[full], x, end=x[end])


def evaluations(run: RunRecord, seed: Seed, unit: str) -> tuple[Floats, Floats]:
    """Return x and y of the evaluations; the final one is added where metrics.jsonl lacks it."""
    x, y = seed.evaluation.axis(unit), seed.evaluation.returns
    end = seed.end[unit == "episode"]
    if seed.number in run.final and end not in x[-1:]:
        return np.append(x, end), np.append(y, run.final[seed.number])
    return x, y


def latest(xs: Floats, ys: Floats, x: Floats, *, end: float) -> Floats:
    """Return the latest of `ys` at each of x [T]; NaN before the first of `xs` and after `end`."""
    known = np.append(np.nan, ys)[np.searchsorted(xs, x, side="right")]
    return np.where(x <= end, known, np.nan)


def pieces(x: Floats, rows: Floats) -> list[Curve]:
    """Return curves of the finite values of rows [K, T]: one piece for each set of seeds."""
    here = np.isfinite(rows)
    changes = np.flatnonzero((here[:, 1:] != here[:, :-1]).any(0)) + 1
    curves = []
    for columns in np.split(np.arange(len(x)), changes):
        seeds = here[:, columns[0]]
        if not seeds.any():
            continue
        values = rows[seeds][:, columns]
        resamples = int(np.clip(BUDGET // values.size, 200, MAX_RESAMPLES))
        band = sample_efficiency(values, generator=stream(0, "summarize"), resamples=resamples)
        if seeds.sum() == 1:
            band = Band(band.value, *np.full((2, len(columns)), np.nan))
        curves.append(Curve(x[columns], band, values, bool(seeds.all())))
    return curves
