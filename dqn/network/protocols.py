"""What makes the parts of a network, and a network."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from dqn.network.layers import Layer
from dqn.types import EnvSpec

Generators = Sequence[torch.Generator]

MakeLayer = Layer


class MakeTorso(Protocol):
    """Makes a torso, which has `out_features`, for observations of `in_shape`."""

    def __call__(self, *, layer: Layer, in_shape: Sequence[int], generators: Generators) -> nn.Module: ...


class MakeHead(Protocol):
    """Makes a head, which returns a return distribution, for `in_features`."""

    def __call__(
        self, *, layer: Layer, in_features: Any, num_actions: int, generators: Generators
    ) -> nn.Module: ...


class MakeNetwork(Protocol):
    """Makes a Q-network, one for each generator."""

    def __call__(self, *, spec: EnvSpec, generators: Generators) -> Any: ...
