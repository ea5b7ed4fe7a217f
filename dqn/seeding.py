"""All randomness of a run: independent streams, each named by a seed and a purpose.

A stream depends on nothing but its name, so a seed draws the same numbers alone and among other seeds.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dqn.types import Floats

State = dict[str, Any]


def sequence(seed: int, purpose: str, *place: int) -> np.random.SeedSequence:
    """Return the entropy of one purpose of one seed; `place` tells apart, say, iterations."""
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), *place))


def stream(seed: int, purpose: str, *place: int) -> np.random.Generator:
    """Return the generator of one purpose of one seed."""
    return np.random.Generator(np.random.PCG64(sequence(seed, purpose, *place)))


def integer(seed: int, purpose: str, *place: int) -> int:
    """Return a number in [0, 2^31), to seed what takes an integer."""
    return int(sequence(seed, purpose, *place).generate_state(1)[0] >> 1)


class Uniforms:
    """Numbers in [0, 1) of several seeds, drawn many at a time because a draw costs more than its numbers.

    `next()` returns them as [K, *shape], float64.
    """

    BLOCK = 256

    def __init__(self, streams: Sequence[np.random.Generator], shape: tuple[int, ...]) -> None:
        self.streams = streams
        self._block = np.empty((len(streams), self.BLOCK, *shape))
        self._states: list[State] = []
        self._used = self.BLOCK

    def next(self) -> Floats:
        if self._used == self.BLOCK:
            self._draw()
        self._used += 1
        return self._block[:, self._used - 1]

    def _draw(self) -> None:
        self._states = get_states(self.streams)
        for row, generator in zip(self._block, self.streams, strict=True):
            generator.random(out=row)
        self._used = 0

    def state_dict(self) -> State:
        """Return the streams as they were before the present block, and how much of it is used."""
        return {"streams": self._states or get_states(self.streams), "used": self._used}

    def load_state_dict(self, state: State) -> None:
        set_states(self.streams, state["streams"])
        self._states = []
        if state["used"] < self.BLOCK:
            self._draw()
        self._used = state["used"]


def get_states(streams: Sequence[np.random.Generator]) -> list[State]:
    """Return the state of each stream as plain numbers and strings."""
    return [dict(generator.bit_generator.state) for generator in streams]


def set_states(streams: Sequence[np.random.Generator], states: Sequence[State]) -> None:
    """Put each stream where `get_states` saw it."""
    for generator, state in zip(streams, states, strict=True):
        generator.bit_generator.state = state
