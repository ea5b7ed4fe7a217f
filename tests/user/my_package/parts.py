"""A custom schedule and a custom head. Their signatures are the schema of their options."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dqn.network import HeadFactory
from dqn.types import Positive, PositiveInt, Probability, Rng
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

    def __init__(self, *, bound: Positive, make: HeadFactory) -> None:
        super().__init__()
        self.bound = bound
        self.streams = make.streams(num_atoms=1)

    def forward(self, features: Tensor, rng: Rng | None) -> Expected:
        value = self.streams.forward(features, rng).squeeze(-1)
        return Expected(torch.tanh(value) * self.bound, huber_delta=None)
