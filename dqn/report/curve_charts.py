"""The picture of the learning curves."""

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from dqn.errors import shorten
from dqn.report import style
from dqn.report.analysis import MAX_LINES, Analysis, Score
from dqn.report.curves import Curve, bin_width
from dqn.report.style import COLOURS, MARKERS

PANELS = 4
"""Panels beside each other."""
YLABELS = {
    "training": "training return (reward)\nof the exploring policy",
    "evaluation": "evaluation return (reward)\nof the greedy policy",
}


def draw_curves(analysis: Analysis) -> Figure:
    """Draw the training return above the evaluation return; a single setting also shows each seed."""
    points = {
        kind: max((len(curve.x) for curves in of_kind for curve in curves), default=0)
        for kind, of_kind in analysis.curves.items()
    }
    kinds = [kind for kind, number in points.items() if number > 1 or 0 < number == max(points.values())]
    if len(analysis.charted) > MAX_LINES:
        return draw_panels(analysis, kinds)
    alone = len(analysis.charted) == 1
    fig, axes = style.figure(3.4 * len(kinds) + 0.4, rows=len(kinds))
    fig.suptitle(title_of(analysis))
    handles = seed_handles(analysis.charted[0]) if alone else setting_handles(analysis.charted)
    for ax, kind in zip(axes, kinds, strict=True):
        for i, curves in enumerate(analysis.curves[kind]):
            draw_pieces(ax, curves, i, seeds=alone)
        ax.set_ylabel(YLABELS[kind])
        scale_time(ax, analysis, kinds)
        ax.set_xlabel(time_label(analysis, kind))
        style.legend(ax, handles)
    return fig


def scale_time(ax: Axes, analysis: Analysis, kinds: Sequence[str]) -> None:
    """Give the horizontal axis of learning curves its limits and ticks."""
    ends = (curve.x[-1] for kind in kinds for curves in analysis.curves[kind] for curve in curves)
    ax.set_xlim(0, 1.03 * max(ends))
    ticks = 3 if len(analysis.charted) > MAX_LINES else 8
    ax.xaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10], integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")


def time_label(analysis: Analysis, kind: str) -> str:
    """Return the label of the horizontal axis of learning curves."""
    axis = "episodes" if analysis.task.unit == "episode" else "environment steps"
    if kind == "training" and (width := bin_width(analysis.task)) > 1:
        axis += f" (each point is a mean over {f'{width:,.1f}'.removesuffix('.0')})"
    return axis


def draw_panels(analysis: Analysis, kinds: Sequence[str]) -> Figure:
    """Draw each setting in its own panel, with the others in grey."""
    rows = -(-len(analysis.charted) // PANELS)
    fig = Figure(figsize=(style.WIDTH, 2.1 * rows * len(kinds) + 0.6))
    fig.suptitle(f"{title_of(analysis)}: one setting in colour, the others in grey")
    parts = fig.subfigures(len(kinds), squeeze=False)[:, 0]
    for part, kind in zip(parts, kinds, strict=True):
        axes = list(part.subplots(rows, PANELS, sharex=True, sharey=True, squeeze=False).flat)
        part.supylabel(YLABELS[kind])
        part.supxlabel(time_label(analysis, kind))
        for i, ax in enumerate(axes):
            if i >= len(analysis.charted):
                ax.axis("off")
                continue
            for curve in (c for j, found in enumerate(analysis.curves[kind]) if j != i for c in found):
                ax.plot(curve.x, curve.band.value, color="#cccccc", linewidth=0.6)
            draw_pieces(ax, analysis.curves[kind][i], 0, seeds=False)
            name = textwrap.wrap(f"{i + 1}: {analysis.charted[i].setting.label}", 30)
            ax.set_title("\n".join(name[:2]) + "…" * (len(name) > 2), fontsize=9)
            scale_time(ax, analysis, kinds)
    return fig


def seed_handles(score: Score) -> list[Line2D | Patch]:
    """Return labelled examples of the lines of a single setting."""
    colour, seeds = COLOURS[0], len(score.setting.seeds)
    if seeds == 1:
        return [Line2D([], [], color=colour, linewidth=2, label="one seed")]
    return [
        Line2D([], [], color=colour, linewidth=2, label=f"interquartile mean of {seeds} seeds"),
        Patch(color=colour, alpha=0.3, linewidth=0, label="its 95 % bootstrap interval"),
        Line2D([], [], color=style.SEED_COLOUR, linewidth=0.8, label="each seed"),
    ]


def setting_handles(scores: Sequence[Score]) -> list[Line2D]:
    """Return a labelled example of each setting's line."""
    return [
        Line2D([], [], color=COLOURS[i], marker=MARKERS[i], linewidth=2, label=name)
        for i, name in enumerate(names_of(scores))
    ]


def names_of(scores: Sequence[Score]) -> list[str]:
    """Return the labels of settings after their numbers in the table of the final scores."""
    return [f"{i}: {shorten(score.setting.label, style.LABEL)}" for i, score in enumerate(scores, 1)]


def title_of(analysis: Analysis) -> str:
    """Return the environment's name; for a single setting, also the name of its runs."""
    names = sorted({run.config.get("name", "") for run in analysis.task.runs} - {""})
    if len(analysis.charted) > 1 or len(names) != 1:
        return analysis.task.name
    return f"{analysis.task.name}, {shorten(names[0], style.LABEL)}"


def draw_pieces(ax: Axes, curves: Sequence[Curve], i: int, *, seeds: bool) -> None:
    """Draw the pieces of the curve of setting i, and dotted connections between them."""
    for curve in curves:
        draw_curve(ax, curve, i, seeds=seeds)
    for left, right in pairwise(curves):
        x, y = (left.x[-1], right.x[0]), (left.band.value[-1], right.band.value[0])
        ax.plot(x, y, ":", color=COLOURS[i], linewidth=1.2)


def draw_curve(ax: Axes, curve: Curve, i: int, *, seeds: bool) -> None:
    """Draw a piece of the curve of setting i, its interval, and with `seeds` a thin line for each seed."""
    line = "-" if curve.complete else ":"
    every = max(1, len(curve.x) // 8)
    marks: dict[str, Any] = {"marker": MARKERS[i], "markevery": (i * every // 8, every), "markersize": 5}
    if seeds and len(curve.seeds) > 1 and len(curve.x) > 1:
        ax.plot(curve.x, curve.seeds.T, color=style.SEED_COLOUR, linewidth=0.7, alpha=0.6)
        marks = {}
    ax.plot(curve.x, curve.band.value, line, color=COLOURS[i], linewidth=1.8, **marks)
    low, high = curve.band.low, curve.band.high
    if len(curve.x) == 1:  # a band would be invisible
        ax.vlines(curve.x, low, high, color=COLOURS[i], alpha=0.5, linewidth=3)
    else:
        ax.fill_between(curve.x, low, high, color=COLOURS[i], alpha=0.15, linewidth=0.6)
