"""Layers with the seed axis: parameters [K, ...], inputs [K, B, ...]."""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


class Layer(Protocol):
    """Makes a layer from `in_features` to `out_features`, a network for each generator."""

    def __call__(
        self, *, in_features: int, out_features: int, generators: Sequence[torch.Generator]
    ) -> nn.Module: ...


class Linear(nn.Module):
    """K affine maps, [K, B, in_features] to [K, B, out_features].

    Each seed's weights and biases are drawn from its own generator, uniformly from
    +-1 / sqrt(in_features), as torch.nn.Linear's are; the weight is the transpose of that layer's.
    """

    def __init__(self, *, in_features: int, out_features: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        weight = torch.empty(len(generators), in_features, out_features)
        bias = torch.empty(len(generators), 1, out_features)
        for k, generator in enumerate(generators):
            weight[k] = torch.empty(out_features, in_features).uniform_(-bound, bound, generator=generator).T
            bias[k].uniform_(-bound, bound, generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)
