"""Streams: the last layers of a network, maps from features to numbers for each action."""

import itertools

import torch
from torch import Tensor, nn

from dqn.network.layers import Activation, activate
from dqn.network.protocols import Generators, MakeLayer
from dqn.types import PositiveInt, Rng


class SingleStream(nn.Module):
    """Fully connected layers with an activation between them: [K, B, in_features] to [K, B, A, N]."""

    def __init__(
        self,
        *,
        hidden_sizes: list[PositiveInt],
        activation: Activation,
        layer: MakeLayer,
        in_features: int,
        num_actions: int,
        num_atoms: int,
        generators: Generators,
    ) -> None:
        super().__init__()
        self.shape = (num_actions, num_atoms)
        self.activation = activation
        sizes = [in_features, *hidden_sizes, num_actions * num_atoms]
        self.layers = nn.ModuleList(
            layer(in_features=fan_in, out_features=fan_out, generators=generators)
            for fan_in, fan_out in itertools.pairwise(sizes)
        )

    def forward(self, features: Tensor, rng: Rng | None) -> Tensor:
        first, *others = self.layers
        x = first.forward(features, rng)
        for layer in others:
            x = layer.forward(activate(x, self.activation), rng)
        return torch.unflatten(x, -1, self.shape)


class DuelingStreams(nn.Module):
    """Dueling streams: [K, B, in_features] to [K, B, A, N]. Wang et al. (2016), eq. 9.

    The value of the state plus the advantages of its actions minus their mean, for each atom or quantile as
    in Hessel et al. (2018).
    """

    def __init__(
        self,
        *,
        hidden_sizes: list[PositiveInt],
        activation: Activation,
        layer: MakeLayer,
        in_features: int,
        num_actions: int,
        num_atoms: int,
        generators: Generators,
    ) -> None:
        super().__init__()
        self.advantage, self.value = (
            SingleStream(
                hidden_sizes=hidden_sizes,
                activation=activation,
                layer=layer,
                in_features=in_features,
                num_actions=count,
                num_atoms=num_atoms,
                generators=generators,
            )
            for count in (num_actions, 1)
        )

    def forward(self, features: Tensor, rng: Rng | None) -> Tensor:
        advantage = self.advantage.forward(features, rng)
        value = self.value.forward(features, rng)  # [K, B, 1, N]
        return value + (advantage - advantage.mean(-2, True))
