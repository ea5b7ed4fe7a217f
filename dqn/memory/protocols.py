"""What a memory needs of its parts."""

from collections.abc import Sequence
from typing import Any, Protocol

from dqn.memory.ring import Ring
from dqn.types import Floats, Integers


class Sampler(Protocol):
    """Draws the starts of samples; the memory tells it of every change."""

    def sample(self, batch_size: int) -> tuple[Integers, Floats]:
        """Return the places [K, B] of starts and their weights in the loss [K, B], float32."""
        ...

    def update(self, place: Integers, priority: Floats) -> None:
        """Take how wrong the predictions of samples were, whose starts are at `place`, both [K, B]."""
        ...

    def changed(self, places: Sequence[Integers]) -> None:
        """Take the places where rows have stopped being starts or become starts, as `Ring.push` tells."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where `state_dict` was; the ring already is there."""
        ...


class MakeReader(Protocol):
    """Makes a reader."""

    def __call__(self, *, gamma: float) -> Any: ...


class MakeSampler(Protocol):
    """Makes a sampler of the starts in a ring."""

    def __call__(self, *, ring: Ring, seeds: Sequence[int]) -> Sampler: ...
