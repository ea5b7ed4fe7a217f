"""A custom tracker."""

from collections.abc import Sequence

from dqn.tracking.trackers import Line, Tracker


class Printed(Tracker):
    """Print each evaluation."""

    def log(self, seed_index: int | None, lines: Sequence[Line]) -> None:
        for line in lines:
            if "eval/return" in line:
                print(f"seed {seed_index}, step {line['step']}: {line['eval/return']}")
