"""The pictures of a report."""

import io
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from dqn.errors import shorten
from dqn.report import style
from dqn.report.analysis import CROWDED, EFFECTS, Analysis, Effect, Score
from dqn.report.curves import Curve, bin_width
from dqn.report.formatting import short_name, to_number
from dqn.report.style import COLOURS, MARKERS
from dqn.stats import Estimate
from dqn.storage.metrics import RECENT_EPISODES

MAX_TICKS = 10
"""Evenly spaced values of a key; more of them are drawn to scale where they are numbers."""
YLABELS = {
    "training": "training return (reward)\nof the exploring policy",
    "evaluation": "evaluation return (reward)\nof the greedy policy",
}


def draw(analysis: Analysis) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the PNG of each picture that a task has numbers for."""
    pictures = {
        "curves": (any(any(curves) for curves in analysis.curves.values()), draw_curves),
        "scores": (bool(analysis.scored), draw_scores),
        "profile": (bool(analysis.scored), draw_profile),
        "improvement": (bool(analysis.pairs), draw_improvement),
        "effects": (bool(drawn_effects(analysis)), draw_effects),
    }
    for name, (possible, picture) in pictures.items():
        if possible:
            with style.applied():
                file = io.BytesIO()
                picture(analysis).savefig(file, format="png", dpi=style.DPI, metadata={"Software": None})
            yield name, file.getvalue()


def draw_curves(analysis: Analysis) -> Figure:
    """Draw the training return above the evaluation return; a single setting also shows each seed."""
    points = {
        kind: max((len(curve.x) for curves in of_kind for curve in curves), default=0)
        for kind, of_kind in analysis.curves.items()
    }
    kinds = [kind for kind, number in points.items() if number > 1 or 0 < number == max(points.values())]
    alone = len(analysis.charted) == 1
    fig, axes = style.figure(3.4 * len(kinds) + 0.7, rows=len(kinds))
    fig.suptitle(title_of(analysis))
    end = max(curve.x[-1] for kind in kinds for curves in analysis.curves[kind] for curve in curves)
    for ax, kind in zip(axes, kinds, strict=True):
        for i, curves in enumerate(analysis.curves[kind]):
            for curve in curves:
                draw_curve(ax, curve, i, seeds=alone)
        ax.set_ylabel(YLABELS[kind])
        ax.set_xlim(0, 1.03 * end)
        ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        axis = "episodes" if analysis.task.unit == "episode" else "environment steps"
        if kind == "training" and (width := bin_width(analysis.task)) > 1:
            axis += f" (each point is a mean over {f'{width:,.1f}'.removesuffix('.0')})"
        ax.set_xlabel(axis)
    style.legend(fig, seed_handles(analysis.charted[0]) if alone else setting_handles(analysis.charted))
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


def setting_handles(scores: list[Score]) -> list[Line2D]:
    """Return a labelled example of each setting's line."""
    return [
        Line2D([], [], color=COLOURS[i], marker=MARKERS[i], linewidth=2, label=name_of(score))
        for i, score in enumerate(scores)
    ]


def name_of(score: Score) -> str:
    return shorten(score.setting.label, style.LABEL).lstrip("_")  # Matplotlib hides names with a leading "_"


def title_of(analysis: Analysis) -> str:
    """Return the environment's name; for a single setting, also the name of its runs."""
    names = sorted({run.config.get("name", "") for run in analysis.task.runs} - {""})
    if len(analysis.charted) > 1 or len(names) != 1:
        return analysis.task.name
    return f"{analysis.task.name}, {shorten(names[0], style.LABEL)}"


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


def return_label(analysis: Analysis) -> str:
    """Return the axis label of the main scores."""
    if analysis.kind == "evaluation":
        return "final evaluation return (reward) of the greedy policy"
    return f"mean return (reward) of the last {RECENT_EPISODES} training episodes, exploring policy"


def draw_scores(analysis: Analysis) -> Figure:
    """Draw each setting's interquartile mean with its interval, and each seed as a mark."""
    scored = analysis.scored
    fig, (ax,) = style.figure(1.2 + 0.45 * len(scored))
    for i, score in enumerate(scored):
        found = list(score.returns[analysis.kind].values())
        ax.plot(found, np.full(len(found), i + 0.22), "|", color=COLOURS[i], markersize=7, alpha=0.7)
        draw_estimate(ax, score.iqm[analysis.kind], i, i=i, horizontal=True)
    ax.set_yticks(range(len(scored)), [textwrap.fill(name_of(score), 36) for score in scored])
    ax.set_ylim(len(scored) - 0.4, -0.6)
    ax.set_xlabel(f"{return_label(analysis)}\n● interquartile mean with 95 % interval, | single seeds")
    return fig


def draw_estimate(
    ax: Axes, found: Estimate, at: float, *, i: int = 0, size: float = 8, horizontal: bool = False
) -> None:
    """Draw an estimate and its interval in the style of setting i; `at` is the position on the other axis."""
    interval = ax.hlines if horizontal else ax.vlines
    interval(at, found.low, found.high, color=COLOURS[i], alpha=0.5, linewidth=size / 3)
    x, y = (found.value, at) if horizontal else (at, found.value)
    ax.plot(x, y, MARKERS[i], color=COLOURS[i], markersize=size)


def draw_profile(analysis: Analysis) -> Figure:
    """Draw the share of seeds above each return."""
    scored = analysis.scored
    fig, (ax,) = style.figure(4.0)
    x = analysis.thresholds
    for i, band in enumerate(analysis.profiles):
        marks: dict[str, Any] = {"marker": MARKERS[i], "markevery": (3 * i, 25), "markersize": 5}
        ax.step(x, 100 * band.value, where="post", color=COLOURS[i], linewidth=1.8, **marks)
        if len(scored[i].returns[analysis.kind]) > 1 and len(scored) <= CROWDED:
            low, high = 100 * band.low, 100 * band.high
            ax.fill_between(x, low, high, step="post", color=COLOURS[i], alpha=0.12, linewidth=0.6)
    ax.set_ylim(-3, 103)
    ax.set_xlabel(f"{return_label(analysis)}: R")
    ax.set_ylabel("seeds with a return above R (%)")
    style.legend(fig, setting_handles(scored))
    return fig


def draw_improvement(analysis: Analysis) -> Figure:
    """Draw the probability that a seed of the row's setting scores more than a seed of the column's."""
    names = [name_of(score) for score in analysis.scored]
    n = len(names)
    index = {score.setting.label: i for i, score in enumerate(analysis.scored)}
    cells: dict[tuple[int, int], Estimate] = {}
    for pair in analysis.pairs:
        i, j, p = index[pair.better], index[pair.worse], pair.probability
        cells[i, j], cells[j, i] = p, Estimate(1 - p.value, 1 - p.high, 1 - p.low)
    table = np.array([[np.nan if i == j else cells[i, j].value for j in range(n)] for i in range(n)])
    fig, (ax,) = style.figure(2.4 + 0.62 * n)
    image = ax.imshow(table, cmap="PuOr_r", vmin=0, vmax=1, aspect="auto")
    for (i, j), p in cells.items():
        colour = "black" if 0.2 <= p.value < 0.88 else "white"
        weight = "bold" if p.low > 0.5 or p.high < 0.5 else "normal"
        interval = f"\n[{p.low:.2f}, {p.high:.2f}]" if n <= CROWDED and np.isfinite(p.low) else ""
        text = f"{p.value:.2f}{interval}"
        ax.text(j, i, text, ha="center", va="center", fontsize=9, color=colour, weight=weight)
    ax.grid(False)
    ax.set_xticks(range(n), [f"{i + 1}" for i in range(n)])
    ax.set_yticks(range(n), [textwrap.fill(f"{i + 1}: {name}", 36) for i, name in enumerate(names)])
    ax.set_xlabel("compared with setting number")
    fig.colorbar(image, ax=ax, label="probability that a seed\nof the row scores more", fraction=0.06)
    return fig


def drawn_effects(analysis: Analysis) -> list[Effect]:
    """Return the first effects with at least two values to compare."""
    return [e for e in analysis.effects if sum(iqm is not None for _, iqm, _ in e.rows) > 1][:EFFECTS]


def draw_effects(analysis: Analysis) -> Figure:
    """Draw the scores at each value of each swept key."""
    effects = drawn_effects(analysis)
    columns = min(2, len(effects))
    rows = -(-len(effects) // columns)
    fig, axes = style.figure(3.3 * rows, rows=rows, columns=columns)
    fig.supylabel(f"{analysis.kind} return (reward)")
    for ax, effect in zip(axes, effects, strict=False):
        draw_effect(ax, effect)
    for ax in axes[len(effects) :]:
        ax.axis("off")
    return fig


def draw_effect(ax: Axes, effect: Effect) -> None:
    """Draw one key: few values evenly spaced, many numbers to scale, other values without their names."""
    points = [(text, iqm) for text, iqm, _ in effect.rows if iqm]
    values, many = [to_number(text) for text, _ in points], len(points) > MAX_TICKS
    numeric = bool(np.isfinite(values).all())
    x = values if numeric and many else [*range(len(points))]
    for at, (_, found) in zip(x, points, strict=True):
        draw_estimate(ax, found, at, size=5 if many else 8)
    label = textwrap.fill(shorten(effect.name, 2 * style.LABEL), 44)
    if not many:
        if numeric:
            ax.plot(x, [found.value for _, found in points], "-", color=COLOURS[0], linewidth=0.8)
        names = [shorten(short_name(text), 20) for text, _ in points]
        if sum(map(len, names)) > 36:
            ax.set_xticks(x, names, rotation=30, ha="right", rotation_mode="anchor")
        else:
            ax.set_xticks(x, names)
        ax.set_xlim(-0.5, len(points) - 0.5)
    elif not numeric:
        ax.set_xticks([])
        label += f"\n({len(points)} values, named below)"
    elif min(x) > 0 and max(x) > 30 * min(x):
        ax.set_xscale("log")
        # the default writes formulas, which the style displays unchanged
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
    ax.set_xlabel(label)
