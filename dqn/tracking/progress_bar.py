"""The terminal: a progress bar below the log lines. Imported only where stdout is a terminal."""

import logging
import sys
import time
from collections.abc import Iterable
from typing import IO, Any, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

REFRESH_SECONDS = 0.25


class Bar:
    """A progress bar that is drawn by `show` alone, no thread, a few times a second at most.

    Args:
        unit: of a tick.
        total: ticks of the whole run.
    """

    def __init__(self, *, unit: str, total: int) -> None:
        self._progress = TwoLines(
            TextColumn(f"{unit} {{task.completed:,}} of {{task.total:,}}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(file=sys.stdout),
            auto_refresh=False,
            transient=True,
            expand=True,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("", total=total)
        self._handlers: list[logging.StreamHandler[Any]] = []
        self._next = -float("inf")

    def start(self, tick: int) -> None:
        """Draw the bar; log lines that go to stdout appear above it from now on."""
        stream = cast(IO[str], Above(self._progress.console))
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
                handler.setStream(stream)
                self._handlers.append(handler)
        self._progress.update(self._task, completed=tick)
        self._progress.start()
        self._progress.console.show_cursor(True)  # a kill would leave the terminal without one

    def due(self) -> bool:
        """Return whether the bar was last drawn long enough ago."""
        return time.monotonic() >= self._next

    def show(self, tick: int, numbers: str) -> None:
        """Draw the bar at `tick`, and the numbers below it."""
        self._progress.update(self._task, completed=tick)
        self._progress.numbers = numbers
        self._progress.refresh()
        self._next = time.monotonic() + REFRESH_SECONDS

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()
        for handler in self._handlers:
            handler.setStream(sys.stdout)
        self._handlers.clear()


class TwoLines(Progress):
    """Rich's progress bar and a line of numbers below it."""

    numbers = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.numbers, no_wrap=True, overflow="ellipsis")


class Above:
    """A stream that writes above the bar; unlike Rich's own it leaves long lines, such as paths, whole."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        self._console.print(Text(text), end="", soft_wrap=True)

    def flush(self) -> None:
        self._console.file.flush()
