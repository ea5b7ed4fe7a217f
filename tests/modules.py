"""Ordinary modules for `network/torso=module`: `modules.NAME` in configurations."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Conv(nn.Module):
    """Convolutions over observations whose last axis counts as channels, and a lazy layer."""

    def __init__(self, in_shape: Sequence[int], channels: int, width: int) -> None:
        super().__init__()
        self.image = (1, 1, in_shape[0]) if len(in_shape) == 1 else tuple(in_shape)
        self.layers = nn.Sequential(
            nn.Conv2d(self.image[-1], channels, 1), nn.ELU(), nn.Flatten(), nn.LazyLinear(width), nn.Tanh()
        )
        self.register_buffer("scale", torch.rand(width))
        self.frozen = nn.Parameter(torch.rand(1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        image = x.unflatten(1, self.image) if x.ndim == 2 else x
        return self.layers(image.movedim(-1, 1)) * self.scale + self.frozen


class Flat(nn.Sequential):
    """A hidden layer and one more module."""

    def __init__(self, in_features: int, kind: str) -> None:
        last = {"dropout": nn.Dropout(0.5), "norm": nn.BatchNorm1d(5), "none": nn.Identity()}[kind]
        super().__init__(nn.Flatten(), nn.Linear(in_features, 5), nn.ReLU(), last)


class Broken(nn.Module):
    """Returns what `kind` names instead of features."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind == "init":
            raise ValueError("kind should be another")
        self.kind, self.layer = kind, nn.Linear(7, 3)

    def forward(self, x: Tensor) -> object:
        if self.kind == "input":
            return self.layer(x)
        if self.kind == "tuple":
            return x, x
        return {"image": x.unsqueeze(1), "double": x.double(), "batch": x.flatten()}[self.kind]


def number(in_features: int) -> int:
    """Return no module."""
    return in_features
