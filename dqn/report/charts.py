"""The pictures of a report."""

import io
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dqn.errors import shorten
from dqn.report import style
from dqn.report.analysis import BETTER, CROWDED, EFFECTS, MAX_LINES, Analysis, Effect
from dqn.report.curve_charts import draw_curves, names_of, setting_handles
from dqn.report.formatting import short_name, to_number
from dqn.report.style import COLOURS, MARKERS
from dqn.stats import Estimate
from dqn.storage.metrics import RECENT_EPISODES

MAX_TICKS = 10
"""Evenly spaced values of a key; more of them are drawn to scale where they are numbers."""


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


def return_label(analysis: Analysis) -> str:
    """Return the axis label of the main scores."""
    if analysis.kind == "evaluation":
        return "final evaluation return (reward) of the greedy policy"
    return f"mean return (reward) of the last {RECENT_EPISODES} training episodes, exploring policy"


def draw_scores(analysis: Analysis) -> Figure:
    """Draw each setting's interquartile mean with its interval, and each seed as a mark."""
    scored = analysis.scored
    fig, (ax,) = style.figure(1.2 + (0.45 if len(scored) <= MAX_LINES else 0.34) * len(scored))
    for row, score in enumerate(scored):
        i = row if len(scored) <= MAX_LINES else 0
        found = list(score.returns[analysis.kind].values())
        ax.plot(found, np.full(len(found), row + 0.22), "|", color=COLOURS[i], markersize=7, alpha=0.7)
        draw_estimate(ax, score.iqm[analysis.kind], row, i=i, horizontal=True)
    ax.set_yticks(range(len(scored)), [textwrap.fill(name, 36) for name in names_of(scored)])
    ax.set_ylim(len(scored) - 0.4, -0.6)
    marks = (
        "" if analysis.one_seed else "\nlarge mark: interquartile mean, with its 95 % interval; | : each seed"
    )
    ax.set_xlabel(return_label(analysis) + marks)
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
    scored = analysis.scored[:MAX_LINES]
    fig, (ax,) = style.figure(4.0)
    x = analysis.thresholds
    for i, band in enumerate(analysis.profiles[:MAX_LINES]):
        marks: dict[str, Any] = {"marker": MARKERS[i], "markevery": (3 * i, 25), "markersize": 5}
        ax.step(x, 100 * band.value, where="post", color=COLOURS[i], linewidth=1.8, **marks)
        if len(scored[i].returns[analysis.kind]) > 1 and len(scored) <= CROWDED:
            low, high = 100 * band.low, 100 * band.high
            ax.fill_between(x, low, high, step="post", color=COLOURS[i], alpha=0.12, linewidth=0.6)
    ax.set_ylim(-3, 103)
    ax.set_xlabel(f"{return_label(analysis)}: R")
    ax.set_ylabel("seeds with a return above R (%)")
    style.legend(ax, setting_handles(scored))
    return fig


def draw_improvement(analysis: Analysis) -> Figure:
    """Draw the probability that a seed of the row's setting scores more than a seed of the column's."""
    names = names_of(analysis.scored)
    n = len(names)
    index = {score.setting.label: i for i, score in enumerate(analysis.scored)}
    table = np.full((n, n), np.nan)
    fig, (ax,) = style.figure(2.4 + (0.62 if n <= MAX_LINES else 0.36) * n)
    for pair in analysis.pairs:
        i, j, p = index[pair.better], index[pair.worse], pair.probability
        for row, column, found in ((i, j, p), (j, i, Estimate(1 - p.value, 1 - p.high, 1 - p.low))):
            table[row, column] = found.value
            colour = "black" if 0.2 <= found.value < 0.88 else "white"
            bold: dict[str, Any] = {"weight": "bold" if pair.verdict == BETTER else "normal"}
            interval = f"\n[{found.low:.2f}, {found.high:.2f}]" if n <= CROWDED and np.isfinite(p.low) else ""
            size = 9 if n <= MAX_LINES else 7
            text = f"{found.value:.2f}{interval}"
            ax.text(column, row, text, ha="center", va="center", fontsize=size, color=colour, **bold)
    image = ax.imshow(table, cmap="PuOr_r", vmin=0, vmax=1, aspect="auto")
    ax.grid(False)
    ax.set_xticks(range(n), [f"{i + 1}" for i in range(n)])
    ax.set_yticks(range(n), [textwrap.fill(name, 36) for name in names])
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
