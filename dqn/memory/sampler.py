"""Samplers: at which rows the samples of a batch start."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from dqn.memory.ring import Ring
from dqn.seeding import get_states, set_states, stream
from dqn.types import Array, Floats, Integers


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


class Uniform:
    """Every start of a seed is equally likely, drawn with replacement.

    Rows are drawn until they are starts: few are not (closing rows and, with n steps, the newest n - 1).
    """

    ROUNDS = 8

    def __init__(self, *, ring: Ring, seeds: Sequence[int]) -> None:
        self.ring = ring
        self.streams = [stream(seed, "sampling") for seed in seeds]
        self._first = np.arange(len(seeds))[:, None] * ring.num_envs * ring.rows
        self._weights: Floats = np.ones((len(seeds), 0), np.float32)

    def sample(self, batch_size: int) -> tuple[Integers, Floats]:
        """Return the places [K, B] of the starts and their weights, all 1; each seed must have a start."""
        ring = self.ring
        uniform = np.empty((len(self.streams), batch_size))
        for row, generator in zip(uniform, self.streams, strict=True):
            generator.random(out=row)
        places = self._places(uniform, ring.most_filled, self._first)
        accepted = ring.is_start.take(places)
        if np.count_nonzero(accepted) < accepted.size:
            for k in np.flatnonzero(~accepted.all(-1)).tolist():
                count = accepted.shape[1] - np.count_nonzero(accepted[k])
                places[k, ~accepted[k]] = self._redraw(k, ring.most_filled[k], count)
        if self._weights.shape != places.shape:
            self._weights = np.ones(places.shape, np.float32)
        return places, self._weights

    def update(self, place: Integers, priority: Floats) -> None:
        """Do nothing: all starts stay equally likely."""

    def changed(self, places: Sequence[Integers]) -> None:
        """Do nothing: the ring knows its starts."""

    def _places(self, uniform: Array, filled: Array, first: Array) -> Integers:
        """Return the rows that numbers in [0, 1) choose among the `filled` first ones of each environment."""
        num_envs = self.ring.num_envs
        total = filled if num_envs == 1 else filled * num_envs
        places: Integers = (uniform * total).astype(np.int64)
        if num_envs > 1:
            places += places // filled * (self.ring.rows - filled)
        places += first
        return places

    def _redraw(self, k: int, filled: Array, count: int) -> Integers:
        """Return `count` starts of seed k; where they are rare, from the list of them all."""
        is_start, first, generator = self.ring.is_start, self._first[k], self.streams[k]
        found: list[Integers] = []
        for _ in range(self.ROUNDS):
            places = self._places(generator.random(count), filled, first)
            found.append(places[is_start[places]])
            count -= found[-1].size
            if count == 0:
                return np.concatenate(found)
        starts = first + np.flatnonzero(is_start[first[0] :][: self.ring.num_envs * self.ring.rows])
        found.append(starts[(generator.random(count) * starts.size).astype(np.int64)])
        return np.concatenate(found)

    def state_dict(self) -> dict[str, Any]:
        return {"streams": get_states(self.streams)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        set_states(self.streams, state["streams"])
