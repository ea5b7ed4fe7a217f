"""A progress bar below the log lines, for terminals only."""

import sys
import time
from contextlib import ExitStack, redirect_stderr

from tqdm import tqdm
from tqdm.contrib import DummyTqdmFile
from tqdm.contrib.logging import logging_redirect_tqdm

REFRESH_SECONDS = 0.25
SMOOTHING = 0.02
"""Weight of the latest refresh in the mean speed, which then covers about 12 seconds."""


class Line(tqdm):  # type: ignore[misc]
    """A line of the terminal that no background thread redraws."""

    monitor_interval = 0


class Bar:
    """A progress bar over `total` ticks, with a line of numbers below it; only `show` redraws them."""

    def __init__(self, *, unit: str, total: int) -> None:
        self._total = total
        self._format = f"{unit} {{n:,}} of {{total:,}} |{{bar}}| {{percentage:.0f}}%, {{remaining}} left"
        self._stack = ExitStack()
        self._next = -float("inf")

    def start(self, tick: int) -> None:
        """Draw the bar; from now on log lines, and stderr if it is a terminal, appear above it."""
        draw = {"file": sys.stdout, "dynamic_ncols": True, "leave": False, "mininterval": 0, "miniters": 0}
        counts = {"total": self._total, "initial": tick, "smoothing": SMOOTHING}
        self._bar = Line(**draw, **counts, bar_format=self._format)
        self._numbers = Line(**draw, bar_format="{desc}")
        self._stack.callback(self._bar.close)
        self._stack.callback(self._numbers.close)
        self._stack.enter_context(logging_redirect_tqdm())
        if sys.stderr.isatty():
            self._stack.enter_context(redirect_stderr(DummyTqdmFile(sys.stdout)))

    def due(self) -> bool:
        """Return whether the bar was last drawn at least REFRESH_SECONDS ago."""
        return time.monotonic() >= self._next

    def show(self, tick: int, numbers: str) -> None:
        """Draw the bar at `tick`, and the numbers below it."""
        self._bar.update(tick - self._bar.n)
        self._numbers.set_description_str(numbers)
        self._next = time.monotonic() + REFRESH_SECONDS

    def close(self) -> None:
        """Remove the bar."""
        self._stack.close()
