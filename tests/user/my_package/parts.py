"""A custom schedule and a custom head. Their signatures are the schema of their options."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dqn.network.layers import Layer
from dqn.types import Draws, Positive, PositiveInt, Probability
from dqn.value import Expected


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Half a cosine wave from `start` at tick 0 to `end` at tick `duration`, then `end`."""

    start: Probability
    end: Probability
    duration: PositiveInt

    def __call__(self, tick: int) -> float:
        wave = (1 + math.cos(math.pi * min(tick / self.duration, 1.0))) / 2
        return self.end + (self.start - self.end) * wave


class BoundedHead(nn.Module):
    """One value per action between -bound and bound, [K, B, in_features] to Expected [K, B, A]."""

    def __init__(
        self,
        *,
        bound: Positive,
        layer: Layer,
        in_features: int,
        num_actions: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self.bound = bound
        self.value = layer(in_features=in_features, out_features=num_actions, generators=generators)

    def forward(self, features: Tensor, draws: Draws | None) -> Expected:
        return Expected(torch.tanh(self.value.forward(features, draws)) * self.bound, huber_delta=None)
