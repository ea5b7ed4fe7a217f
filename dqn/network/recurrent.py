"""Recurrent cores: the part of a network that remembers earlier observations of an episode."""

from typing import Protocol

import torch
from torch import Tensor, nn

from dqn.network.layers import Linear, without_tail
from dqn.network.protocols import Generators
from dqn.types import PositiveInt, Rng


class Core(Protocol):
    """A recurrent cell over the seed axis, whose memory of an episode is its carry [K, B, carry_size].

    The first `out_features` numbers of the carry are the features; an episode starts with a carry of zeros.
    """

    out_features: int
    carry_size: int

    def prepare(self, x: Tensor, rng: Rng | None) -> Tensor:
        """Return what a step needs of its input, for many steps at once: [K, N, in_features] to [K, N, P]."""

    def forward(self, prepared: Tensor, carry: Tensor, rng: Rng | None) -> Tensor:
        """Return the next carry, given what `prepare` returned for this step [K, B, P]."""


class MakeCore(Protocol):
    """Makes a `Core`, a torch.nn.Module whose parameters have the seed axis first."""

    def __call__(self, *, in_features: int, generators: Generators) -> Core: ...


def unroll(core: Core, prepared: Tensor, carry: Tensor, rng: Rng | None) -> Tensor:
    """Return the features [K, T, B, F] of T steps, given [K, T, B, P] and the carry before them."""
    features = []
    for one in prepared.unbind(1):
        carry = core.forward(one, carry, rng)
        features.append(carry[..., : core.out_features])
    return torch.stack(features, 1)


def burn_in(core: Core, prepared: Tensor, carry: Tensor, exists: Tensor, rng: Rng | None) -> Tensor:
    """Return the carry after T steps, of which those before the episode's first count as none.

    Args:
        core: the core.
        prepared: what `prepare` returned for the steps [K, T, B, P].
        carry: before the steps.
        exists: 1 for the steps of the episode, 0 before them [K, T, B].
        rng: random numbers of the core.
    """
    for one, there in zip(prepared.unbind(1), exists.unbind(1), strict=True):
        carry = core.forward(one, carry, rng) * there.unsqueeze(-1)
    return carry


class GRU(nn.Module):
    """A gated recurrent unit, as torch.nn.GRU computes it. Cho et al. (2014); the carry is the features.

    A step is few operations: each costs as much as the arithmetic in small networks.
    """

    def __init__(self, *, units: PositiveInt, in_features: int, generators: Generators) -> None:
        super().__init__()
        self.units = self.out_features = self.carry_size = units
        self.input = Linear(
            initializer="torch", in_features=in_features, out_features=3 * units, generators=generators
        )
        self.recurrent = Linear(
            initializer="torch", in_features=units, out_features=3 * units, generators=generators
        )

    def prepare(self, x: Tensor, rng: Rng | None) -> Tensor:
        return self.input.forward(x, rng)

    def forward(self, prepared: Tensor, carry: Tensor, rng: Rng | None) -> Tensor:
        sizes = [2 * self.units, self.units]
        gates_in, candidate_in = torch.split(prepared, sizes, -1)
        gates_carry, candidate_carry = torch.split(self.recurrent.forward(carry, rng), sizes, -1)
        reset, update = torch.chunk(without_tail(torch.sigmoid, gates_in + gates_carry), 2, -1)
        candidate = without_tail(torch.tanh, torch.addcmul(candidate_in, reset, candidate_carry))
        return torch.lerp(candidate, carry, update)


class LSTM(nn.Module):
    """A long short-term memory, as torch.nn.LSTM computes it. Hochreiter and Schmidhuber (1997).

    The carry is the features followed by the cell's state.
    """

    def __init__(self, *, units: PositiveInt, in_features: int, generators: Generators) -> None:
        super().__init__()
        self.units = self.out_features = units
        self.carry_size = 2 * units
        self.input = Linear(
            initializer="torch", in_features=in_features, out_features=4 * units, generators=generators
        )
        self.recurrent = Linear(
            initializer="torch", in_features=units, out_features=4 * units, generators=generators
        )

    def prepare(self, x: Tensor, rng: Rng | None) -> Tensor:
        return self.input.forward(x, rng)

    def forward(self, prepared: Tensor, carry: Tensor, rng: Rng | None) -> Tensor:
        features, state = torch.chunk(carry, 2, -1)
        sums = prepared + self.recurrent.forward(features, rng)
        gates, candidate = torch.split(sums, [3 * self.units, self.units], -1)
        take, keep, give = torch.chunk(without_tail(torch.sigmoid, gates), 3, -1)
        state = torch.addcmul(keep * state, take, without_tail(torch.tanh, candidate))
        return torch.cat((give * without_tail(torch.tanh, state), state), -1)
