"""The style of a report's pictures; uses Matplotlib without a window and without its global state."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dqn.errors import UserError
from dqn.report.analysis import Score
from dqn.report.formatting import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00", "#882255")
"""Distinguishable by the colour-blind: those of Okabe and Ito that are dark enough, and one of Tol."""
SEED_COLOUR = "#888888"
"""Colour of the thin lines of single seeds."""
MARKERS = "osD^vPX*"
WIDTH = 9.6  # inches: as wide as the page at 100 %
DPI = 160
LABEL = 60
"""Characters of a setting's name in a picture; longer names are cut."""
RC_PARAMS = {
    "text.parse_math": False,  # display the texts of a run unchanged
    "text.usetex": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,  # inches
    "figure.constrained_layout.h_pad": 0.08,
}


def require_matplotlib() -> None:
    """Raise UserError unless Matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError(
            "a report needs Matplotlib; install it with the extra `report`:"
            ' pip install -c constraints.txt -e ".[report]"'
        ) from None


@contextmanager
def applied() -> Iterator[None]:
    """Draw and save figures with this style inside the context."""
    from matplotlib import rc_context

    with rc_context(cast(Any, RC_PARAMS)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a letter that the font lacks is drawn as a box
        yield


def figure(height: float, *, rows: int = 1, columns: int = 1) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    fig = Figure(figsize=(WIDTH, height))
    return fig, list(np.ravel(fig.subplots(rows, columns, squeeze=False)))


def legend(fig: "Figure", scores: Sequence[Score]) -> None:
    """Add the names of the settings at the bottom."""
    from matplotlib.lines import Line2D

    names = [name_of(score) for score in scores]
    handles = [Line2D([], [], color=COLOURS[i], marker=MARKERS[i], linewidth=2) for i in range(len(scores))]
    columns = min(len(names), legend_columns(scores))
    fig.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)


def legend_of_one(fig: "Figure", num_seeds: int) -> None:
    """Add an explanation of the lines of a single setting at the bottom."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: dict[str, Any] = {"one seed": Line2D([], [], color=COLOURS[0], linewidth=2)}
    if num_seeds > 1:
        handles = {
            f"interquartile mean of {num_seeds} seeds": handles["one seed"],
            "its 95 % bootstrap interval": Patch(color=COLOURS[0], alpha=0.3, linewidth=0),
            "each seed": Line2D([], [], color=SEED_COLOUR, linewidth=0.8),
        }
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)


def legend_columns(scores: Sequence[Score]) -> int:
    return max(1, 100 // (max(len(name_of(score)) for score in scores) + 8))


def legend_height(scores: Sequence[Score]) -> float:
    """Return the height of a legend in inches."""
    return 0.3 * -(-len(scores) // legend_columns(scores))


def name_of(score: Score) -> str:
    return shorten(score.setting.label, LABEL).lstrip("_")  # Matplotlib hides names with a leading "_"


def thousands(ax: "Axes") -> None:
    """Label the x-axis with whole numbers such as 10,000."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
