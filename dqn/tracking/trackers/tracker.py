"""Trackers: where a run writes its numbers, besides metrics.jsonl."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dqn.types import Array, Position

Line = Mapping[str, float]
"""The numbers of an environment step: `step` and tags, with one seed also `episode` and `update`."""


class TrackedRun(NamedTuple):
    """The run that a tracker follows."""

    folder: Path
    seeds: Sequence[int]
    config: dict[str, Any]
    """The complete configuration."""


class Tracker:
    """Base class of trackers. Its methods do nothing; a subclass overrides those that it needs.

    A tracker gets the numbers of metrics.jsonl some seconds or an iteration after they were logged. After a
    crash, the run repeats everything since its last checkpoint. A tracker that can remove what it wrote since
    then does so in `open`; one that cannot waits with each number until `saved`.
    """

    def check(self, run: TrackedRun, state: Any) -> None:
        """Raise UserError or ValueError if the run cannot continue from a state; change nothing."""

    def open(self, run: TrackedRun, at: Sequence[Position], state: Any) -> None:
        """Start to follow a run.

        Args:
            run: the run.
            at: the position of each seed.
            state: what `state_dict` returned for the last checkpoint; None for a new run.
        """

    def log(self, seed_index: int | None, lines: Sequence[Line]) -> None:
        """Take lines of a seed or, with None, of the statistics over several seeds; steps never decrease."""

    def histogram(self, seed_index: int, step: int, tag: str, values: Array) -> None:
        """Take values of a seed whose distribution is of interest."""

    def flush(self) -> None:
        """Write what was taken, so that it can be read while the run is active."""

    def state_dict(self) -> dict[str, Any]:
        """Make everything durable and return what `open` needs to continue exactly: plain values."""
        return {}

    def saved(self) -> None:
        """Take note that a checkpoint was written: no run repeats the numbers taken so far."""

    def end(self, result: float) -> None:
        """Take the result of the finished run."""

    def close(self) -> None:
        """Release files and connections; without `end` before, the run was interrupted or failed."""
