"""A progress bar below the log lines, for terminals only."""

import logging
import sys
import time
from contextlib import ExitStack, redirect_stderr

from tqdm import tqdm
from tqdm.contrib import DummyTqdmFile
from tqdm.contrib.logging import logging_redirect_tqdm

from dqn.tracking.progress import time_left

log = logging.getLogger(__name__)

REFRESH_SECONDS = 0.25


class Line(tqdm):  # type: ignore[misc]
    """A line of the terminal that no background thread redraws."""

    monitor_interval = 0


class Bar:
    """A `Progress` as a bar over `total` units, with a line below it that says what happens."""

    def __init__(self, *, unit: str, total: int) -> None:
        self._total = total
        self._format = f"{unit} {{n:,}} of {{total:,}} |{{bar}}| {{percentage:.0f}}%{{postfix}}"
        self._stack = ExitStack()
        self._next = -float("inf")

    def start(self, done: int) -> None:
        """Draw the bar; from now on log lines, and stderr if it is a terminal, appear above it."""
        draw = {"file": sys.stdout, "dynamic_ncols": True, "leave": False, "mininterval": 0, "miniters": 0}
        self._bar = Line(**draw, total=self._total, initial=done, bar_format=self._format)
        self._text = Line(**draw, bar_format="{desc}")
        self._stack.callback(self._bar.close)
        self._stack.callback(self._text.close)
        self._stack.enter_context(logging_redirect_tqdm())
        if sys.stderr.isatty():
            self._stack.enter_context(redirect_stderr(DummyTqdmFile(sys.stdout)))

    def due(self) -> bool:
        """Return whether the bar was last drawn at least REFRESH_SECONDS ago."""
        return time.monotonic() >= self._next

    def show(self, done: int, text: str, left: float | None) -> None:
        self._bar.set_postfix_str(time_left(left), refresh=False)
        self._bar.n = done
        self._bar.refresh()
        self._text.set_description_str(text)
        self._next = time.monotonic() + REFRESH_SECONDS

    def log(self, text: str, left: float | None) -> None:
        """Log a line; the time left stands in the bar."""
        log.info("%s", text)

    def close(self) -> None:
        """Remove the bar."""
        self._stack.close()
