"""Trackers that send numbers to a service, which cannot take them back."""

import logging
from abc import abstractmethod
from collections.abc import Sequence

from dqn.errors import one_line
from dqn.tracking.trackers.tracker import Line, TrackedRun, Tracker

log = logging.getLogger(__name__)


class Service(Tracker):
    """Sends numbers once the run will not repeat them: after each checkpoint.

    If the service cannot be reached, the run continues and the numbers are sent with the next ones:
    metrics.jsonl has them all.
    """

    def __init__(self) -> None:
        self._lines: list[tuple[int | None, Line]] = []
        """Lines since the last checkpoint."""
        self._due: list[tuple[int | None, Line]] = []
        """Lines to be sent."""
        self._result: float | None = None

    @abstractmethod
    def send(self, seed_index: int | None, lines: Sequence[Line]) -> None:
        """Send lines of a seed or, with None, of the statistics over several seeds; raise any error."""

    @abstractmethod
    def finish(self, result: float | None) -> None:
        """End with the result; None: the run was interrupted or failed."""

    def log(self, seed_index: int | None, lines: Sequence[Line]) -> None:
        self._lines += [(seed_index, line) for line in lines]

    def saved(self) -> None:
        self._due += self._lines
        self._lines = []
        due, self._due = self._due, []
        for index in dict.fromkeys(seed_index for seed_index, _ in due):
            lines = [line for seed_index, line in due if seed_index == index]
            try:
                self.send(index, lines)
            except Exception as error:  # of any kind, as the service's package raises it
                self._due += [(index, line) for line in lines]
                text = "warning: %s: %d lines could not be sent; they stay in metrics.jsonl and are due (%s)"
                log.warning(text, type(self).__name__, len(lines), one_line(error))

    def end(self, result: float) -> None:
        self._result = result

    def close(self) -> None:
        self._lines = []  # the resumed run logs them again
        if self._due:
            self.saved()
        try:
            self.finish(self._result)
        except Exception as error:
            log.warning("warning: %s: could not be closed (%s)", type(self).__name__, one_line(error))


def names_of(run: TrackedRun) -> list[str]:
    """Return the names of a run's runs at a service: of each seed and, with several, of their statistics."""
    return [*(f"seed={seed}" for seed in run.seeds), *["seeds"] * (len(run.seeds) > 1)]
