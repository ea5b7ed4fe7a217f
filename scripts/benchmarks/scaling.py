"""Plots of the cost against batch size, seeds, environments and rows of memory."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.replay import BATCH, learn_all
from benchmarks.subjects import cost, filled, paired, trained
from benchmarks.table import Line, circumstances
from benchmarks.whole import Setting
from benchmarks.works import LIGHT
from dqn.storage.durable_files import write_json

STEPS = 6_400
"""Environment steps of an iteration; a multiple of every number of environments."""
WORK = replace(LIGHT, steps=STEPS, learning_starts=1_000)
SAMPLES = 200
"""Samples in one measurement of a memory."""

Curve = dict[int, list[float]]
"""The measurements at each size, in CPU microseconds."""


class Plot(NamedTuple):
    """One picture and its measurements."""

    name: str
    title: str
    axis: str
    unit: str
    sizes: Sequence[int]
    measures: dict[str, Callable[[int, Setting], list[float]]]
    """Curves by name; each maps a size to its measurements."""


def update(setting: Setting, *, batch_size: int, num_seeds: int) -> list[float]:
    """Return the cost of an update, per seed."""
    with trained(WORK, setting.overrides, num_seeds) as runner:
        sample = runner.memory.sample(batch_size)
        seconds = 0.01 if setting.quick else 0.1
        [costs] = paired([lambda: runner.agent.update(sample, 0)], setting.repeats, seconds)
    return [cost / num_seeds for cost in costs]


def loop(num_envs: int, setting: Setting) -> list[float]:
    """Return the cost of an environment step of the whole loop."""
    with trained(WORK, [f"env.num_envs={num_envs}", *setting.overrides]) as runner:
        return [cost(runner.train, 1) / STEPS for _ in range(setting.repeats)]


def memory(rows: int, setting: Setting, *, option: str) -> list[float]:
    """Return the cost of a sample and the update of its priorities."""
    full = filled(rows, [f"memory={option}", *setting.overrides])
    learn_all(full, 3 * rows // BATCH)
    return [cost(lambda: learn_all(full, SAMPLES), 1) / SAMPLES for _ in range(setting.repeats)]


PLOTS = (
    Plot(
        "batch",
        "An update of 4-120-84-2, one seed",
        "batch",
        "CPU µs of an update",
        (16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
        {"update": lambda size, setting: update(setting, batch_size=size, num_seeds=1)},
    ),
    Plot(
        "seeds",
        "An update of 4-120-84-2, batch 128, seeds in lock step",
        "seeds, K",
        "CPU µs of an update, per seed",
        (1, 2, 4, 8, 16, 32),
        {"update": lambda size, setting: update(setting, batch_size=128, num_seeds=size)},
    ),
    Plot(
        "envs",
        "The whole loop of one seed, an update of 4-120-84-2 every 10 steps",
        "environments, E",
        "CPU µs of an environment step",
        (1, 2, 4, 8, 16, 32, 64),
        {"loop": loop},
    ),
    Plot(
        "rows",
        "Replay memory of one seed",
        "rows",
        f"CPU µs of a sample of {BATCH} and its priorities",
        (10_000, 100_000, 1_000_000),
        {option: partial(memory, option=option) for option in ("uniform", "prioritized")},
    ),
)


def scaling(setting: Setting) -> list[Line]:
    """Cost of an update against batch and seeds, of a step against environments, of a sample against rows."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as nowhere:
        folder = Path(nowhere) if setting.quick else setting.results / "scaling"
        folder.mkdir(parents=True, exist_ok=True)
        results: dict[str, dict[str, Curve]] = {}
        for plot in PLOTS:
            sizes = plot.sizes[:2] if setting.quick else plot.sizes
            curves = {
                name: {size: measure(size, setting) for size in sizes}
                for name, measure in plot.measures.items()
            }
            print_medians(plot, curves)
            draw(plot, curves, folder / f"{plot.name}.png")
            results[plot.name] = curves
        record = {"overrides": list(setting.overrides), "circumstances": circumstances(), "plots": results}
        write_json(folder / "curves.json", record, indent=1)
    return []  # its results are not pairs


def print_medians(plot: Plot, curves: dict[str, Curve]) -> None:
    """Print the medians as a table."""
    print(f"\n{plot.title}: {plot.unit}\n")
    print(f"| {plot.axis} | {' | '.join(curves)} |\n|{'---|' * (len(curves) + 1)}")
    for size in next(iter(curves.values())):
        cells = [f"{statistics.median(curve[size]):.1f}" for curve in curves.values()]
        print(f"| {size:,} | {' | '.join(cells)} |", flush=True)


def draw(plot: Plot, curves: dict[str, Curve], path: Path) -> None:
    """Write a picture of the medians and the range of the measurements."""
    from matplotlib.figure import Figure

    from dqn.report.style import COLOURS, MARKERS, applied

    with applied():
        figure = Figure(figsize=(7, 4), dpi=120)
        axes = figure.subplots()
        for (name, curve), colour, marker in zip(curves.items(), COLOURS, MARKERS, strict=False):
            sizes = list(curve)
            axes.plot(
                sizes,
                [statistics.median(costs) for costs in curve.values()],
                color=colour,
                marker=marker,
                label=name,
            )
            low, high = ([limit(costs) for costs in curve.values()] for limit in (min, max))
            axes.fill_between(sizes, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.set_xscale("log", base=10 if plot.name == "rows" else 2)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_ylim(0)
        axes.set_title(plot.title)
        axes.set_xlabel(plot.axis)
        axes.set_ylabel(plot.unit)
        if len(curves) > 1:
            axes.legend(frameon=False)
        figure.savefig(path)
