"""Protocols of a memory's reader and sampler, and of their constructors."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from dqn.memory.ring import Ring
from dqn.memory.sequences import Sequences
from dqn.types import Floats, Integers


class Transitions(NamedTuple):
    """Samples as a reader returns them."""

    reward: Floats  # [K, B], float32
    discount: Floats  # [K, B], float32
    following: Integers  # [K, B], index of the row with the next observation


class Reader(Protocol):
    """Reads the samples that start at given rows of the ring."""

    @property
    def span(self) -> int:
        """Return the largest number of transitions in a sample, n of n-step returns."""

    def __call__(self, ring: Ring, start: Integers) -> Transitions:
        """Return the samples that start at the rows `start` [K, B].

        A sample ends where `ring.end` is not CONTINUES. Its discount is 0 if that is TERMINATED or LOST.
        """


class Sampler(Protocol):
    """Draws the rows where samples start; the memory passes on every change of the ring."""

    def sample(self, batch_size: int) -> tuple[Integers, Floats]:
        """Return rows where samples start [K, B] and their weights in the loss [K, B], float32."""

    def update(self, row: Integers, priority: Floats) -> None:
        """Set the priorities of the samples that start at `row`, both [K, B]."""

    def changed(self, rows: Sequence[Integers]) -> None:
        """Take note of rows that became starts or no longer are, as returned by `Ring.push`."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, after the ring has been restored."""


class MakeReader(Protocol):
    def __call__(self, *, gamma: float) -> "Reader | Sequences":
        """Return a reader for the discount `gamma` of one step."""


class MakeSampler(Protocol):
    def __call__(self, *, ring: Ring, seeds: Sequence[int]) -> Sampler:
        """Return a sampler of the starts in `ring`, with a random stream for each of the K seeds."""
