"""Heads: features to a return distribution."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dqn.network.layers import Layer
from dqn.types import Positive
from dqn.value import Expected


class ExpectedHead(nn.Module):
    """One value per action, [K, B, in_features] to Expected [K, B, A]."""

    def __init__(
        self,
        *,
        huber_delta: Positive | None,
        layer: Layer,
        in_features: int,
        num_actions: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self.huber_delta = huber_delta
        self.value = layer(in_features=in_features, out_features=num_actions, generators=generators)

    def forward(self, features: Tensor) -> Expected:
        return Expected(self.value.forward(features), self.huber_delta)
