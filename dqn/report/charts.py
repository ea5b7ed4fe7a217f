"""The pictures of a report."""

import io
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dqn.report.analysis import Analysis, Effect
from dqn.report.curves import POINTS, Curve
from dqn.report.formatting import short_name, shorten
from dqn.report.style import (
    COLOURS,
    DPI,
    LABEL,
    MARKERS,
    SEED_COLOUR,
    figure,
    legend,
    legend_of_one,
    name_of,
    rows_of_legend,
    style,
    thousands,
)
from dqn.stats import Estimate
from dqn.storage.metrics import RECENT_EPISODES
from dqn.types import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EFFECTS = 8
"""Keys whose effect is drawn."""
CROWDED = 4
"""Settings beyond which a picture has no room for every interval."""
MAX_TICKS = 10
"""Values of a key that are each given a place; more of them are drawn to scale where they are numbers."""


def draw(analysis: Analysis) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the PNG of each picture that a task's numbers suffice for."""
    pictures: dict[str, Callable[[Analysis], Figure]] = {}
    if any(any(curves) for curves in analysis.curves.values()):
        pictures["curves"] = draw_curves
    if analysis.scored:
        pictures |= {"scores": draw_scores, "profile": draw_profile}
    if analysis.pairs:
        pictures["improvement"] = draw_improvement
    if drawn_effects(analysis):
        pictures["effects"] = draw_effects
    for name, picture in pictures.items():
        with style():
            file = io.BytesIO()
            picture(analysis).savefig(file, format="png", dpi=DPI, metadata={"Software": None})
        yield name, file.getvalue()


def draw_curves(analysis: Analysis) -> "Figure":
    """Draw the training return above the evaluation return; of a single setting each seed, too."""
    points = {
        kind: max((len(curve.x) for curves in of_kind for curve in curves), default=0)
        for kind, of_kind in analysis.curves.items()
    }
    kinds = [kind for kind, number in points.items() if number > 1 or 0 < number == max(points.values())]
    alone = len(analysis.charted) == 1
    fig, axes = figure(3.4 * len(kinds) + 0.3 * rows_of_legend(analysis.charted) + 0.7, rows=len(kinds))
    fig.suptitle(title_of(analysis))
    names = {
        "training": "training return (reward)\nof the exploring policy",
        "evaluation": "evaluation return (reward)\nof the greedy policy",
    }
    end = max(curve.x[-1] for kind in kinds for curves in analysis.curves[kind] for curve in curves)
    for ax, kind in zip(axes, kinds, strict=True):
        for i, curves in enumerate(analysis.curves[kind]):
            for curve in curves:
                draw_curve(ax, curve, i, seeds=alone)
        ax.set_ylabel(names[kind])
        ax.set_xlim(0, 1.03 * end)
        thousands(ax)
        axis = "episodes" if analysis.task.unit == "episode" else "environment steps"
        width = f"{end / POINTS:,.1f}".removesuffix(".0")
        ax.set_xlabel(f"{axis} (each point is a mean over {width})" if kind == "training" else axis)
    if alone:
        legend_of_one(fig, len(analysis.charted[0].setting.seeds))
    else:
        legend(fig, analysis.charted)
    return fig


def title_of(analysis: Analysis) -> str:
    """Return the environment, and of a single setting the name of its runs."""
    names = sorted({run.config.get("name", "") for run in analysis.task.runs} - {""})
    if len(analysis.charted) > 1 or len(names) != 1:
        return analysis.task.name
    return f"{analysis.task.name}, {shorten(names[0], LABEL)}"


def draw_curve(ax: "Axes", curve: Curve, i: int, *, seeds: bool) -> None:
    """Draw a piece of a setting's curve, its interval, and if `seeds` a thin line for each seed."""
    line = "-" if curve.complete else ":"
    every = max(1, len(curve.x) // 8)
    marks: dict[str, Any] = {"marker": MARKERS[i], "markevery": (i * every // 8, every), "markersize": 5}
    if seeds and len(curve.seeds) > 1 and len(curve.x) > 1:
        ax.plot(curve.x, curve.seeds.T, color=SEED_COLOUR, linewidth=0.7, alpha=0.6)
        marks = {}
    ax.plot(curve.x, curve.band.value, line, color=COLOURS[i], linewidth=1.8, **marks)
    low, high = curve.band.low, curve.band.high
    if len(curve.x) == 1:  # a band would have no width
        ax.vlines(curve.x, low, high, color=COLOURS[i], alpha=0.5, linewidth=3)
    else:
        ax.fill_between(curve.x, low, high, color=COLOURS[i], alpha=0.15, linewidth=0.6)


def return_label(analysis: Analysis) -> str:
    if analysis.kind == "evaluation":
        return "final evaluation return (reward) of the greedy policy"
    return f"mean return (reward) of the last {RECENT_EPISODES} training episodes, exploring policy"


def draw_scores(analysis: Analysis) -> "Figure":
    """Draw each setting's interquartile mean with its interval, and each seed as a dot."""
    scored = analysis.scored
    fig, (ax,) = figure(1.2 + 0.45 * len(scored))
    for i, score in enumerate(scored):
        found = list(score.of(analysis.kind).values())
        ax.plot(found, np.full(len(found), i + 0.22), "|", color=COLOURS[i], markersize=7, alpha=0.7)
        mark(ax, score.by[analysis.kind], i, colour=COLOURS[i], marker=MARKERS[i], horizontal=True)
    ax.set_yticks(range(len(scored)), [in_lines(name_of(score)) for score in scored])
    ax.set_ylim(len(scored) - 0.4, -0.6)
    ax.set_xlabel(f"{return_label(analysis)}\n● interquartile mean with 95 % interval, | single seeds")
    return fig


def in_lines(name: str) -> str:
    return textwrap.fill(name, 36)


def mark(
    ax: "Axes",
    found: Estimate,
    at: float,
    *,
    colour: str = COLOURS[0],
    marker: str = "o",
    size: float = 8,
    horizontal: bool = False,
) -> None:
    """Draw an estimate and its interval at a value of the other axis."""
    interval, value, both = [found.low, found.high], [found.value], [at, at]
    bar: dict[str, Any] = {"color": colour, "linewidth": size / 3, "alpha": 0.5, "solid_capstyle": "butt"}
    ax.plot(*((interval, both) if horizontal else (both, interval)), "-", **bar)
    ax.plot(*((value, [at]) if horizontal else ([at], value)), marker, color=colour, markersize=size)


def draw_profile(analysis: Analysis) -> "Figure":
    """Draw the share of seeds above each return."""
    scored = analysis.scored
    fig, (ax,) = figure(4.0 + 0.3 * rows_of_legend(scored))
    for i, band in enumerate(analysis.profiles):
        x: Floats = analysis.thresholds
        marks: dict[str, Any] = {"marker": MARKERS[i], "markevery": (3 * i, 25), "markersize": 5}
        ax.step(x, 100 * band.value, where="post", color=COLOURS[i], linewidth=1.8, **marks)
        if len(scored[i].of(analysis.kind)) > 1 and len(scored) <= CROWDED:
            low, high = 100 * band.low, 100 * band.high
            ax.fill_between(x, low, high, step="post", color=COLOURS[i], alpha=0.12, linewidth=0.6)
    ax.set_ylim(-3, 103)
    ax.set_xlabel(f"{return_label(analysis)}: R")
    ax.set_ylabel("seeds with a return above R (%)")
    legend(fig, scored)
    return fig


def draw_improvement(analysis: Analysis) -> "Figure":
    """Draw the probability that a seed of the row's setting scores more than one of the column's."""
    from matplotlib import colormaps

    scored = analysis.scored
    n = len(scored)
    place = {score.setting.label: i for i, score in enumerate(scored)}
    table = np.full((n, n), np.nan)
    cells: dict[tuple[int, int], Estimate] = {}
    for pair in analysis.pairs:
        i, j = place[pair.better], place[pair.worse]
        p = pair.probability
        table[i, j], table[j, i] = p.value, 1 - p.value
        cells[i, j] = p
        cells[j, i] = Estimate(1 - p.value, 1 - p.high, 1 - p.low)
    fig, (ax,) = figure(2.4 + 0.62 * n)
    image = ax.imshow(table, cmap=colormaps["PuOr_r"], vmin=0, vmax=1, aspect="auto")
    for (i, j), p in cells.items():
        colour = "black" if 0.2 <= p.value < 0.88 else "white"
        weight = "bold" if p.low > 0.5 or p.high < 0.5 else "normal"
        text = probability_text(p, short=n > CROWDED)
        ax.text(j, i, text, ha="center", va="center", fontsize=9, color=colour, weight=weight)
    ax.grid(False)
    names = [f"{i + 1}" for i in range(n)]
    ax.set_xticks(range(n), names)
    ax.set_yticks(range(n), [in_lines(f"{i + 1}: {name_of(s)}") for i, s in enumerate(scored)])
    ax.set_xlabel("compared with setting number")
    fig.colorbar(image, ax=ax, label="probability that a seed\nof the row scores more", fraction=0.06)
    return fig


def probability_text(p: Estimate, *, short: bool) -> str:
    interval = "" if short or not np.isfinite(p.low) else f"\n[{p.low:.2f}, {p.high:.2f}]"
    return f"{p.value:.2f}{interval}"


def drawn_effects(analysis: Analysis) -> list[Effect]:
    """Return the effects that have two values to compare."""
    return [e for e in analysis.effects if sum(one is not None for one in e.estimates) > 1][:EFFECTS]


def draw_effects(analysis: Analysis) -> "Figure":
    """Draw the scores by the values of each swept key."""
    effects = drawn_effects(analysis)
    columns = min(2, len(effects))
    rows = -(-len(effects) // columns)
    fig, axes = figure(3.3 * rows, rows=rows, columns=columns)
    for ax, effect in zip(axes, effects, strict=False):
        if ax is not axes[0]:
            ax.sharey(axes[0])
        draw_effect(ax, effect)
        ax.set_ylabel(f"{analysis.kind} return (reward)")
    for ax in axes[len(effects) :]:
        ax.axis("off")
    return fig


def draw_effect(ax: "Axes", effect: Effect) -> None:
    """Draw one key: each value at a place of its own, or many numbers to scale."""
    points = [(text, found) for text, found in zip(effect.values, effect.estimates, strict=True) if found]
    together = f"\n(changes together with {shorten(', '.join(effect.linked), 40)})" if effect.linked else ""
    ax.set_xlabel(shorten(effect.key, LABEL) + together)
    if len(points) > MAX_TICKS:
        draw_many(ax, points)
        return
    for i, (_, found) in enumerate(points):
        mark(ax, found, i)
    if all(is_numeric(text) for text, _ in points):
        values = [found.value for _, found in points]
        ax.plot(range(len(points)), values, "-", color=COLOURS[0], linewidth=0.8)
    names = [shorten(short_name(text), 14) for text, _ in points]
    ax.set_xticks(range(len(points)), names, rotation=30 if sum(map(len, names)) > 36 else 0)
    ax.set_xlim(-0.5, len(points) - 0.5)


def is_numeric(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def draw_many(ax: "Axes", points: list[tuple[str, Estimate]]) -> None:
    """Draw many values: numbers to scale, words in a row without their names."""
    if all(is_numeric(text) for text, _ in points):
        x = np.array([float(text) for text, _ in points])
    else:
        x = np.arange(len(points), dtype=np.float64)
        ax.set_xticks([])
        ax.set_xlabel(f"{ax.get_xlabel()}\n({len(points)} values, named in the table)")
    if x.min() > 0 and x.max() > 30 * x.min():
        ax.set_xscale("log")
    for at, (_, found) in zip(x.tolist(), points, strict=True):
        mark(ax, found, at, size=5)
