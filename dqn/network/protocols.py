"""Protocols of a network's parts and of their constructors.

An option of conf/network/layer is a `MakeLayer`, one of conf/network/torso a `MakeTorso`, and so on. The
program passes the keyword arguments of `__call__`; all other arguments of a part are keys of its option.
Layers, torsos, streams and heads are torch.nn.Modules whose parameters have the seed axis first.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from dqn.types import EnvSpec, Rng
from dqn.value import ReturnDistribution

if TYPE_CHECKING:
    from dqn.network.heads import HeadFactory
    from dqn.network.qnetwork import QNetwork

Generators = Sequence[torch.Generator]
"""One generator of initial parameters for each seed."""


class MakeLayer(Protocol):
    """Makes a layer, whose forward(x, rng) maps [K, B, in_features] to [K, B, out_features].

    The ReLU after a layer overwrites its result. The result must be a new tensor, of an operation whose
    backward pass does not need it (that of tanh does).
    """

    def __call__(self, *, in_features: int, out_features: int, generators: Generators) -> nn.Module: ...


class Torso(Protocol):
    """A map from encoded observations [K, B, *in_shape] to features [K, B, out_features]."""

    out_features: int

    def forward(self, x: Tensor, rng: Rng | None) -> Tensor: ...


class Streams(Protocol):
    """A map from features [K, B, in_features] to numbers for each action [K, B, A, N]."""

    def forward(self, features: Tensor, rng: Rng | None) -> Tensor: ...


class Head(Protocol):
    """A map from features [K, B, in_features] to the return distributions of all actions [K, B, A]."""

    def forward(self, features: Tensor, rng: Rng | None) -> ReturnDistribution: ...


class MakeModule(Protocol):
    """Makes an ordinary torch.nn.Module, from observations [B, *in_shape] to features [B, F].

    Where a constructor's argument has this type, its node in a configuration names a class or function. The
    program passes that one `in_shape`, or `in_features`, the product of it, if it takes them.
    """

    def __call__(self, *, in_shape: Sequence[int]) -> nn.Module: ...


class MakeTorso(Protocol):
    def __call__(self, *, layer: MakeLayer, in_shape: Sequence[int], generators: Generators) -> Torso: ...


class MakeStreams(Protocol):
    def __call__(
        self, *, layer: MakeLayer, in_features: int, num_actions: int, num_atoms: int, generators: Generators
    ) -> Streams: ...


class MakeHead(Protocol):
    def __call__(self, *, make: "HeadFactory") -> Head: ...


class MakeNetwork(Protocol):
    def __call__(self, *, spec: EnvSpec, generators: Generators) -> "QNetwork": ...
