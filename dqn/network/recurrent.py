"""Recurrent torsos: networks that remember earlier observations of an episode."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn

from dqn.network.layers import WIDEST, Linear
from dqn.network.protocols import Generators, MakeLayer, MakeTorso
from dqn.types import PositiveInt, Rng


def reads_images(make: Callable[..., Any]) -> bool:
    """Return whether a torso reads the image of an observation as such, and the further numbers beside it."""
    encoder = getattr(make, "keywords", {}).get("encoder", make)
    return takes(encoder, "vector_size")


def takes(make: Callable[..., Any], argument: str) -> bool:
    """Return whether a function has an argument of this name."""
    return argument in inspect.signature(make).parameters


def is_recurrent(make: Callable[..., Any]) -> bool:
    """Return whether a torso remembers earlier observations."""
    return takes(make, "previous_size")


class Cell(Protocol):
    """A recurrent cell over the seed axis, whose memory of an episode is its carry [K, B, carry_size].

    The first `units` numbers of the carry are the features; an episode starts with a carry of zeros.
    """

    carry_size: int

    def prepare(self, x: Tensor, rng: Rng | None) -> Tensor:
        """Return what a step needs of its input, for many steps at once: [K, N, in_features] to [K, N, P]."""

    def forward(self, prepared: Tensor, carry: Tensor, rng: Rng | None) -> Tensor:
        """Return the next carry, given what `prepare` returned for this step [K, B, P]."""


class MakeCell(Protocol):
    """Makes a `Cell`, a torch.nn.Module whose parameters have the seed axis first."""

    def __call__(self, *, in_features: int, units: int, generators: Generators) -> Cell: ...


class Recurrent(nn.Module):
    """An encoder of single observations, and a cell that remembers those before: features [K, B, units].

    Args:
        encoder: makes the torso that encodes each observation on its own.
        cell: makes the cell.
        units: features of the cell.
        layer: makes the encoder's layers; the cell has its own.
        in_shape: shape of an observation, or of the image in it.
        vector_size: further numbers beside the image, for an encoder of images.
        previous_size: numbers that join the encoded observation, those of the previous action and reward.
        generators: one for the initial parameters of each seed.
    """

    def __init__(
        self,
        *,
        encoder: MakeTorso,
        cell: MakeCell,
        units: PositiveInt,
        layer: MakeLayer,
        in_shape: Sequence[int],
        vector_size: int,
        previous_size: int,
        generators: Generators,
    ) -> None:
        super().__init__()
        beside = {"vector_size": vector_size} if reads_images(encoder) else {}
        self.encoder = encoder(layer=layer, in_shape=in_shape, generators=generators, **beside)
        size = self.encoder.out_features + previous_size
        self.cell = cell(in_features=size, units=units, generators=generators)
        self.out_features, self.carry_size, self.previous_size = units, self.cell.carry_size, previous_size

    def forward(self, x: Tensor, rng: Rng | None) -> Tensor:
        """Return the features [K, B, units] of the first observations of episodes [K, B, *in_shape]."""
        previous = x.new_zeros(*x.shape[:2], self.previous_size) if self.previous_size else None
        carry = x.new_zeros(*x.shape[:2], self.carry_size)
        return self.step(self.prepare(x, previous, rng), carry, rng)[0]

    def prepare(self, x: Tensor, previous: Tensor | None, rng: Rng | None) -> Tensor:
        """Return what the cell needs of observations [K, N, *in_shape], [K, N, P]."""
        features = self.encoder.forward(x, rng)
        return self.cell.prepare(features if previous is None else torch.cat((features, previous), -1), rng)

    def step(self, prepared: Tensor, carry: Tensor, rng: Rng | None) -> tuple[Tensor, Tensor]:
        """Return the features [K, B, units] and the carry after a step."""
        carry = self.cell.forward(prepared, carry, rng)
        return carry[..., : self.out_features], carry

    def unroll(self, prepared: Tensor, carry: Tensor, rng: Rng | None) -> Tensor:
        """Return the features [K, T, B, units] of T steps, given [K, T, B, P] and the carry before them."""
        features = []
        for one in prepared.unbind(1):
            now, carry = self.step(one, carry, rng)
            features.append(now)
        return torch.stack(features, 1)

    @torch.no_grad()
    def burn_in(self, prepared: Tensor, carry: Tensor, exists: Tensor, rng: Rng | None) -> Tensor:
        """Return the carry after T steps, of which those before the episode's first count as none.

        Args:
            prepared: what `prepare` returned for the steps [K, T, B, P].
            carry: before the steps.
            exists: 1 for the steps of the episode, 0 before them [K, T, B].
            rng: random numbers of the cell.
        """
        for one, there in zip(prepared.unbind(1), exists.unbind(1), strict=True):
            carry = self.cell.forward(one, carry, rng) * there.unsqueeze(-1)
        return carry


class GRU(nn.Module):
    """A gated recurrent unit, as torch.nn.GRU computes it. Cho et al. (2014); the carry is the features."""

    def __init__(self, *, in_features: int, units: int, generators: Generators) -> None:
        super().__init__()
        self.units = self.carry_size = units
        self.input = Linear(in_features=in_features, out_features=3 * units, generators=generators)
        self.recurrent = Linear(in_features=units, out_features=3 * units, generators=generators)

    def prepare(self, x: Tensor, rng: Rng | None) -> Tensor:
        return self.input.forward(x, rng)

    def forward(self, prepared: Tensor, carry: Tensor, rng: Rng | None) -> Tensor:
        two = 2 * self.units
        recurrent = self.recurrent.forward(carry, rng)
        gates = smooth(torch.sigmoid, prepared[..., :two] + recurrent[..., :two])
        reset, update = gates[..., : self.units], gates[..., self.units :]
        candidate = smooth(torch.tanh, prepared[..., two:] + reset * recurrent[..., two:])
        return candidate + update * (carry - candidate)


class LSTM(nn.Module):
    """A long short-term memory, as torch.nn.LSTM computes it. Hochreiter and Schmidhuber (1997).

    The carry is the features followed by the cell's state.
    """

    def __init__(self, *, in_features: int, units: int, generators: Generators) -> None:
        super().__init__()
        self.units, self.carry_size = units, 2 * units
        self.input = Linear(in_features=in_features, out_features=4 * units, generators=generators)
        self.recurrent = Linear(in_features=units, out_features=4 * units, generators=generators)

    def prepare(self, x: Tensor, rng: Rng | None) -> Tensor:
        return self.input.forward(x, rng)

    def forward(self, prepared: Tensor, carry: Tensor, rng: Rng | None) -> Tensor:
        features, state = carry[..., : self.units], carry[..., self.units :]
        sums = prepared + self.recurrent.forward(features, rng)
        three = 3 * self.units
        gates = smooth(torch.sigmoid, sums[..., :three])
        into, forget = gates[..., : self.units], gates[..., self.units : 2 * self.units]
        state = forget * state + into * smooth(torch.tanh, sums[..., three:])
        return torch.cat((gates[..., 2 * self.units :] * smooth(torch.tanh, state), state), -1)


def smooth(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return an elementwise function of x [K, ...], bit for bit the same for a seed alone."""
    if isinstance(x, fx.Proxy) or not (gap := -math.prod(x.shape[1:]) % WIDEST):
        return function(x)
    return function(nn.functional.pad(x.flatten(1), (0, gap)))[:, :-gap].view(x.shape)
