"""Torsos: an encoded observation to features."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dqn.network.layers import Layer
from dqn.types import PositiveInt


class MLP(nn.Module):
    """Fully connected layers with ReLU after each, [K, B, *in_shape] to [K, B, out_features]."""

    def __init__(
        self,
        *,
        hidden_sizes: list[PositiveInt],
        layer: Layer,
        in_shape: Sequence[int],
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        sizes = [math.prod(in_shape), *hidden_sizes]
        self.layers = nn.ModuleList(
            layer(in_features=fan_in, out_features=fan_out, generators=generators)
            for fan_in, fan_out in itertools.pairwise(sizes)
        )
        self.out_features = sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        for layer in self.layers:
            x = torch.relu(layer.forward(x))
        return x
