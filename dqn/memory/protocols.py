"""The seams of a memory: its reader, its sampler, and what makes them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from dqn.memory.ring import Ring
from dqn.types import Floats, Integers


class Transitions(NamedTuple):
    """What a reader finds at the starts of samples."""

    reward: Floats  # [K, B], float32
    discount: Floats  # [K, B], float32
    following: Integers  # [K, B], the row with the next observation


class Reader(Protocol):
    """Reads samples from the ring, given the rows where they start."""

    @property
    def span(self) -> int:
        """Return the largest number of rows that a sample reads."""

    def __call__(self, ring: Ring, start: Integers) -> Transitions:
        """Read the samples that start at the rows `start` [K, B]."""


class Sampler(Protocol):
    """Draws the rows where samples start; the memory reports every change of the ring to it."""

    def sample(self, batch_size: int) -> tuple[Integers, Floats]:
        """Return the rows [K, B] where samples start, and their weights in the loss [K, B], float32."""

    def update(self, row: Integers, priority: Floats) -> None:
        """Take how wrong the predictions of samples were, which start at `row`, both [K, B]."""

    def changed(self, rows: Sequence[Integers]) -> None:
        """Take the rows that have stopped being starts or become starts, as `Ring.push` returns them."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; the ring has been restored before."""


class MakeReader(Protocol):
    """Makes the reader of a memory."""

    def __call__(self, *, gamma: float) -> Reader:
        """Return a reader for this discount of one step."""


class MakeSampler(Protocol):
    """Makes the sampler of a memory."""

    def __call__(self, *, ring: Ring, seeds: Sequence[int]) -> Sampler:
        """Return a sampler of the starts in `ring`, which draws for each of the K seeds by its own stream."""
