"""How far some work has come: a bar below a terminal's log lines, or a log line after a time of silence."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

log = logging.getLogger(__name__)

SILENCE_SECONDS = 30.0
"""Longest time without a line in the log of an active run."""


class Progress(Protocol):
    """Shows how many units of some work are done, what happens now, and the time left."""

    def start(self, done: int) -> None:
        """Start at `done` units."""

    def due(self) -> bool:
        """Return whether it is time to show the progress again."""

    def show(self, done: int, text: str, left: float | None) -> None:
        """Show the units done and what happens now; `left`: the seconds left, None if they are unknown."""

    def log(self, text: str, left: float | None) -> None:
        """Log a line that says how far the work has come."""

    def close(self) -> None:
        """End the display, also if it has not started."""


def open_progress(*, unit: str, total: int, silence: float = SILENCE_SECONDS) -> Progress:
    """Return the progress of `total` units: a bar if stdout is a terminal that can draw one, else log lines.

    Args:
        unit: name of a unit, in front of the number of those done.
        total: number of units.
        silence: seconds without a line after which a log that is no terminal gets one.
    """
    if not on_terminal():
        return LogLines(unit=unit, total=total, silence=silence)
    from dqn.tracking.progress_bar import Bar  # imports tqdm

    return Bar(unit=unit, total=total)


def on_terminal() -> bool:
    """Return whether stdout is a terminal that can redraw a line."""
    return sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


class LogLines:
    """Logs a line about the progress whenever the log has had none for `silence` seconds."""

    def __init__(self, *, unit: str, total: int, silence: float) -> None:
        self._unit, self._total, self._silence = unit, total, silence
        self._next = float("inf")

    def start(self, done: int) -> None:
        self._next = time.monotonic() + self._silence

    def due(self) -> bool:
        return time.monotonic() >= self._next

    def show(self, done: int, text: str, left: float | None) -> None:
        if self.due():
            self.log(f"{self._unit} {done} of {self._total} | {text}", left)

    def log(self, text: str, left: float | None) -> None:
        log.info("%s", " | ".join(filter(None, (text, time_left(left)))))
        self._next = time.monotonic() + self._silence

    def close(self) -> None:
        pass


def time_left(seconds: float | None) -> str:
    """Return the time left as text, "" if there is none or it is unknown."""
    if not seconds:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show on a terminal what happens while the body runs, which may take seconds and logs nothing."""
    if not on_terminal():
        yield
        return
    print(f"{text} ...", end="\r", flush=True)
    try:
        yield
    finally:
        print("\x1b[K", end="", flush=True)
