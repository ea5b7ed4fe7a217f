"""The style of a report's pictures; uses Matplotlib without a window and without its global state."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from matplotlib import rc_context
from matplotlib.artist import Artist
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
    "figure.labelsize": "medium",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,  # inches
    "figure.constrained_layout.h_pad": 0.08,
}


@contextmanager
def applied() -> Iterator[None]:
    """Draw and save figures with this style inside the context."""
    with rc_context(cast(Any, RC_PARAMS)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a letter that the font lacks is drawn as a box
        yield


def figure(height: float, *, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    fig = Figure(figsize=(WIDTH, height))
    return fig, list(fig.subplots(rows, columns, squeeze=False, sharey=columns > 1).flat)


def legend(ax: Axes, handles: Sequence[Artist]) -> None:
    """Add the labels of lines above a plot, and increase the height of its figure by theirs."""
    longest = max(len(str(one.get_label())) for one in handles)
    columns = min(len(handles), max(1, 100 // (longest + 6)))
    figure = cast(Figure, ax.figure)
    figure.set_figheight(figure.get_figheight() + 0.27 * math.ceil(len(handles) / columns))
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.3}
    ax.legend(handles=handles, ncols=columns, frameon=False, fontsize=10, **place)
