"""What a memory needs of its parts."""

from collections.abc import Sequence
from typing import Any, Protocol

from dqn.types import Floats, Integers


class Sampler(Protocol):
    """Draws the starts of samples; the memory tells it of every change."""

    def sample(self, batch_size: int) -> tuple[Integers, Floats]:
        """Return the rows [K, B] where samples start, and their weights in the loss [K, B], float32."""
        ...

    def update(self, row: Integers, priority: Floats) -> None:
        """Take how wrong the predictions of samples were, which start at `row`, both [K, B]."""
        ...

    def changed(self, rows: Sequence[Integers]) -> None:
        """Take the rows that have stopped being starts or become starts, as `Ring.push` tells."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where `state_dict` was; the ring already is there."""
        ...
