"""Custom parts: schedule, head, loss, module and backup. Their signatures are the schema of their options."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dqn.agent import ActionValues
from dqn.network import ExpectedHead, HeadFactory
from dqn.types import Batch, Positive, PositiveInt, Probability, Rng
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


@dataclass(frozen=True)
class LogCosh(Expected):
    """The expected return with the loss log cosh(error)."""

    def loss(self, target: Expected) -> Tensor:
        error = self.value - target.value
        return error.abs() + torch.nn.functional.softplus(-2 * error.abs()) - math.log(2)


class LogCoshHead(ExpectedHead):
    """One value per action, with the loss log cosh: [K, B, in_features] to LogCosh [K, B, A]."""

    def __init__(self, *, make: HeadFactory) -> None:
        super().__init__(huber_delta=None, rescale=None, make=make)

    def forward(self, features: Tensor, rng: Rng | None) -> LogCosh:
        return LogCosh(super().forward(features, rng).value, huber_delta=None)


class Net(nn.Module):
    """An ordinary module: observations [B, *in_shape] to features [B, width]."""

    def __init__(self, in_shape: Sequence[int], width: PositiveInt) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(in_shape), width), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Mellowmax:
    """log(mean(exp(omega * q))) / omega, a soft maximum. Asadi and Littman (2017), section 4."""

    def __init__(self, *, omega: Positive) -> None:
        self.omega = omega

    def __call__(self, batch: Batch, q_next: Tensor, online: ActionValues, target: ActionValues) -> Tensor:
        total = torch.logsumexp(self.omega * q_next, dim=-1)  # [K, B]
        return (total - math.log(q_next.shape[-1])) / self.omega

    def state_values(self, q: Tensor) -> Tensor:
        return torch.exp(self.omega * q).mean(-1).log() / self.omega
