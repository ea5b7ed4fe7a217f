"""The layout of windows of successive steps in an episode, and the carries that are stored for them."""

from typing import NamedTuple

import numpy as np

from dqn.types import Array, Bools, Floats, Integers


class Windows(NamedTuple):
    """The layout of windows in an episode."""

    period: int
    """Rows between the starts of two windows."""
    burn_in: int
    """Rows before its start from which a window is played, without learning."""
    carry_size: int
    """Numbers of a network's carry that are stored for the first row of a window; 0: none is."""

    def start(self, distance: Integers) -> Bools:
        """Return where windows start, given distances from the first row of the episode."""
        starts: Bools = (distance == 0) | ((distance > 0) & ((distance - self.burn_in) % self.period == 0))
        return starts

    def carries(self, columns: int, rows: int) -> "Carries | None":
        """Return a store of carries for a ring; None if none are stored."""
        return Carries(self, columns, rows) if self.carry_size else None


class Carries:
    """A network's carries before the first rows of windows, whose distances are multiples of the period.

    Two of them are at least `period` rows apart, so that one slot for each `period` rows holds them all.
    """

    def __init__(self, windows: Windows, columns: int, rows: int) -> None:
        self._period = windows.period
        self._slots = rows // windows.period + 2
        self.stored: Floats = np.zeros((columns, self._slots, windows.carry_size), np.float32)

    def push(self, carry: Array | None, distance: Integers, count: Integers, active: Bools) -> None:
        """Store the carries of successive steps that windows need.

        Args:
            carry: the carries before the steps [T, K * E, carry_size].
            distance: of their rows from the first of the episode [T, K * E].
            count: the number of rows ever written in the column before them [T, K * E].
            active: which columns play [T, K * E].
        """
        assert carry is not None
        needed = active & (distance > 0) & (distance % self._period == 0)
        step, column = np.nonzero(needed)
        if step.size:
            self.stored[column, self._slot(count[step, column])] = carry[step, column]

    def take(self, column: Integers, count: Integers) -> Floats:
        """Return the carries [*, carry_size] of rows, given their columns and counts [*]."""
        return self.stored[column, self._slot(count)]

    def _slot(self, count: Integers) -> Integers:
        return count // self._period % self._slots
