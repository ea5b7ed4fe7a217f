"""Torsos: maps from encoded observations to features."""

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from dqn.network.layers import Activation, LayerNorm, activate
from dqn.network.protocols import Generators, MakeLayer
from dqn.types import PositiveInt, Rng


class MLP(nn.Module):
    """Fully connected layers with an activation after each: [K, B, *in_shape] to [K, B, out_features]."""

    def __init__(
        self,
        *,
        hidden_sizes: list[PositiveInt],
        activation: Activation,
        layer_norm: bool,
        layer: MakeLayer,
        in_shape: Sequence[int],
        generators: Generators,
    ) -> None:
        super().__init__()
        sizes = [math.prod(in_shape), *hidden_sizes]
        self.layers = nn.ModuleList(
            layer(in_features=fan_in, out_features=fan_out, generators=generators)
            for fan_in, fan_out in itertools.pairwise(sizes)
        )
        self.norms = nn.ModuleList(
            LayerNorm(features=size, num_seeds=len(generators)) if layer_norm else nn.Identity()
            for size in hidden_sizes
        )
        self.activation = activation
        self.out_features = sizes[-1]

    def forward(self, x: Tensor, rng: Rng | None) -> Tensor:
        x = x.flatten(2)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = activate(norm.forward(layer.forward(x, rng)), self.activation)
        return x
