"""All randomness of a run: independent random streams, each named by a seed and a role.

A stream depends on its name alone, so a seed draws the same numbers alone and among other seeds.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dqn.state import assign
from dqn.types import Bools, Floats, Integers

State = dict[str, Any]


def sequence(seed: int, role: str, *indices: int) -> np.random.SeedSequence:
    """Return the entropy of a stream; `indices` separate, for example, its iterations."""
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(role.encode()), *indices))


def stream(seed: int, role: str, *indices: int) -> np.random.Generator:
    """Return the generator of a stream."""
    return np.random.Generator(np.random.PCG64(sequence(seed, role, *indices)))


def integer(seed: int, role: str, *indices: int) -> int:
    """Return an integer in [0, 2^31) that seeds another random number generator."""
    return int(sequence(seed, role, *indices).generate_state(1)[0] >> 1)


class Uniforms:
    """Numbers in [0, 1) for several seeds, generated in blocks because a call costs more than its numbers.

    Each seed uses up its own numbers at its own pace.
    """

    BLOCK = 256

    def __init__(self, streams: Sequence[np.random.Generator], shape: tuple[int, ...]) -> None:
        self.streams = streams
        self._numbers = np.empty((len(streams) * self.BLOCK, *shape))
        """One block per seed, one after another."""
        self._first = np.arange(len(streams)) * self.BLOCK
        self._next = self._first.copy()
        """Row index of each seed's next numbers."""
        self._states = get_states(streams)
        self._left = self.BLOCK
        """Calls that are possible before any seed's block can be used up."""
        self._fill(range(len(streams)))

    def next(self, using: Bools) -> Floats:
        """Return the next numbers of each seed [K, *shape]; only the seeds `using` [K] use them up."""
        if self._left == 0:
            self._fill(np.flatnonzero(self._used == self.BLOCK).tolist())
            self._left = self.BLOCK - int(self._used.max())
        self._left -= 1
        numbers: Floats = self._numbers.take(self._next, axis=0)
        self._next += using
        return numbers

    @property
    def _used(self) -> Integers:
        """Return how many numbers of its block each seed has used [K]."""
        return self._next - self._first

    def _fill(self, seeds: Iterable[int]) -> None:
        for k in seeds:
            self._states[k] = get_states(self.streams[k : k + 1])[0]
            self.streams[k].random(out=self._numbers[self._first[k] :][: self.BLOCK])
            self._next[k] = self._first[k]

    def state_dict(self) -> State:
        """Return each stream's state before its present block, and how much of the block is used."""
        return {"streams": list(self._states), "used": self._used.tolist()}

    def load_state_dict(self, state: State) -> None:
        set_states(self.streams, state["streams"])
        self._fill(range(len(self.streams)))
        used = np.zeros_like(self._next)
        assign(used, state["used"], least=0, most=self.BLOCK)
        self._next[:] = self._first + used
        self._left = self.BLOCK - int(self._used.max())


def get_states(streams: Sequence[np.random.Generator]) -> list[State]:
    """Return the state of each stream as plain numbers and strings."""
    return [dict(generator.bit_generator.state) for generator in streams]


def set_states(streams: Sequence[np.random.Generator], states: Sequence[State]) -> None:
    """Restore the states that `get_states` returned."""
    for generator, state in zip(streams, states, strict=True):
        generator.bit_generator.state = state
