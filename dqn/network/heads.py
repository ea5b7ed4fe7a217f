"""Heads: features to a return distribution."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dqn.network.layers import Generators, Layer
from dqn.types import AtLeastTwo, Draws, Finite, Positive, PositiveInt
from dqn.value import Categorical, Expected, Quantile


class Stream(nn.Module):
    """Fully connected layers with ReLU between them, [K, B, sizes[0]] to [K, B, sizes[-1]]."""

    def __init__(self, *, sizes: Sequence[int], layer: Layer, generators: Generators) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            layer(in_features=fan_in, out_features=fan_out, generators=generators)
            for fan_in, fan_out in itertools.pairwise(sizes)
        )

    def forward(self, x: Tensor, draws: Draws | None) -> Tensor:
        first, *others = self.layers
        x = first.forward(x, draws)
        for layer in others:
            x = layer.forward(torch.relu_(x), draws)
        return x


class Streams(nn.Module):
    """N numbers for each action, [K, B, in_features] to [K, B, A, N].

    With `dueling` they are the sum of a state's value and its actions' advantages less their mean: Wang et
    al. (2016), eq. 9; for each atom or quantile as in Hessel et al. (2018). `hidden_sizes` are the units of
    hidden layers of the head's own, of each stream.
    """

    def __init__(
        self,
        *,
        dueling: bool,
        hidden_sizes: Sequence[int],
        num_atoms: int,
        num_actions: int,
        layer: Layer,
        in_features: int,
        generators: Generators,
    ) -> None:
        super().__init__()
        sizes = [in_features, *hidden_sizes]
        self.shape = (num_actions, num_atoms)
        self.advantage = Stream(sizes=[*sizes, math.prod(self.shape)], layer=layer, generators=generators)
        self.value = (
            Stream(sizes=[*sizes, num_atoms], layer=layer, generators=generators) if dueling else None
        )

    def forward(self, features: Tensor, draws: Draws | None) -> Tensor:
        advantage = torch.unflatten(self.advantage.forward(features, draws), -1, self.shape)
        if self.value is None:
            return advantage
        value: Tensor = self.value.forward(features, draws).unsqueeze(-2)
        return value + (advantage - advantage.mean(-2, True))


class ExpectedHead(nn.Module):
    """One value per action, [K, B, in_features] to Expected [K, B, A]."""

    def __init__(
        self,
        *,
        dueling: bool,
        hidden_sizes: list[PositiveInt],
        huber_delta: Positive | None,
        layer: Layer,
        in_features: int,
        num_actions: int,
        generators: Generators,
    ) -> None:
        super().__init__()
        self.huber_delta = huber_delta
        self.streams = Streams(
            dueling=dueling,
            hidden_sizes=hidden_sizes,
            num_atoms=1,
            num_actions=num_actions,
            layer=layer,
            in_features=in_features,
            generators=generators,
        )

    def forward(self, features: Tensor, draws: Draws | None) -> Expected:
        return Expected(self.streams.forward(features, draws).squeeze(-1), self.huber_delta)


class CategoricalHead(nn.Module):
    """Probabilities of `num_atoms` returns per action, [K, B, in_features] to Categorical [K, B, A, N].

    Bellemare et al. (2017): the returns lie evenly from v_min to v_max.
    """

    def __init__(
        self,
        *,
        dueling: bool,
        hidden_sizes: list[PositiveInt],
        num_atoms: AtLeastTwo,
        v_min: Finite,
        v_max: Finite,
        layer: Layer,
        in_features: int,
        num_actions: int,
        generators: Generators,
    ) -> None:
        super().__init__()
        self.register_buffer("returns", torch.linspace(v_min, v_max, num_atoms))
        self.streams = Streams(
            dueling=dueling,
            hidden_sizes=hidden_sizes,
            num_atoms=num_atoms,
            num_actions=num_actions,
            layer=layer,
            in_features=in_features,
            generators=generators,
        )

    returns: Tensor

    def forward(self, features: Tensor, draws: Draws | None) -> Categorical:
        logits = self.streams.forward(features, draws)
        return Categorical(torch.log_softmax(logits, -1), self.returns)


class QuantileHead(nn.Module):
    """Quantiles at the middles of N equal parts, [K, B, in_features] to Quantile [K, B, A, N].

    Dabney et al. (2018a), QR-DQN, lemma 2.
    """

    def __init__(
        self,
        *,
        dueling: bool,
        hidden_sizes: list[PositiveInt],
        num_quantiles: PositiveInt,
        huber_delta: Positive | None,
        layer: Layer,
        in_features: int,
        num_actions: int,
        generators: Generators,
    ) -> None:
        super().__init__()
        self.huber_delta = huber_delta
        self.register_buffer("tau", middles(num_quantiles))
        self.streams = Streams(
            dueling=dueling,
            hidden_sizes=hidden_sizes,
            num_atoms=num_quantiles,
            num_actions=num_actions,
            layer=layer,
            in_features=in_features,
            generators=generators,
        )

    tau: Tensor

    def forward(self, features: Tensor, draws: Draws | None) -> Quantile:
        return Quantile(self.streams.forward(features, draws), self.tau, self.huber_delta)


class ImplicitQuantileHead(nn.Module):
    """Quantiles at fractions drawn anew, [K, B, in_features] to Quantile [K, B, A, N].

    Dabney et al. (2018b), IQN, eq. 4: the features are multiplied by an embedding of cos(pi i tau). Without
    draws the fractions are the middles of `num_action_samples` equal parts.

    Args:
        num_samples: fractions of a prediction, N.
        num_target_samples: fractions of a target, N'.
        num_action_samples: fractions by which an action is chosen, K in the paper; for the next state's
            action they are others than those of its target, as in eq. 3.
        num_cosines: of the embedding.
        dueling, hidden_sizes, huber_delta, layer, in_features, num_actions, generators: as in QuantileHead.
    """

    def __init__(
        self,
        *,
        dueling: bool,
        hidden_sizes: list[PositiveInt],
        num_samples: PositiveInt,
        num_target_samples: PositiveInt,
        num_action_samples: PositiveInt,
        num_cosines: PositiveInt,
        huber_delta: Positive | None,
        layer: Layer,
        in_features: int,
        num_actions: int,
        generators: Generators,
    ) -> None:
        super().__init__()
        self.huber_delta = huber_delta
        self.num_target_samples = num_target_samples
        self.counts = {
            "prediction": num_samples,
            "target": num_target_samples + num_action_samples,
            "action": num_action_samples,
            "acting": num_action_samples,
        }
        self.register_buffer("tau", middles(num_action_samples).expand(len(generators), 1, -1))
        self.register_buffer("frequencies", math.pi * torch.arange(num_cosines))
        self.embedding = layer(in_features=num_cosines, out_features=in_features, generators=generators)
        self.streams = Streams(
            dueling=dueling,
            hidden_sizes=hidden_sizes,
            num_atoms=1,
            num_actions=num_actions,
            layer=layer,
            in_features=in_features,
            generators=generators,
        )

    tau: Tensor
    frequencies: Tensor

    def forward(self, features: Tensor, draws: Draws | None) -> Quantile:
        count = self.counts["acting" if draws is None else draws.purpose]
        tau = self.tau if draws is None else draws.uniform(features.shape[1], count)  # [K, B or 1, N]
        cosines = torch.cos(tau.unsqueeze(-1) * self.frequencies).flatten(1, 2)
        embedded = torch.unflatten(torch.relu_(self.embedding.forward(cosines, draws)), 1, (-1, count))
        each = (embedded * features.unsqueeze(2)).flatten(1, 2)  # [K, B * N, in_features]
        value = torch.unflatten(self.streams.forward(each, draws).squeeze(-1), 1, (-1, count)).transpose(2, 3)
        if draws is None or draws.purpose != "target":
            return Quantile(value, tau, self.huber_delta)  # [K, B, A, N]
        valued = self.num_target_samples
        q = value[..., valued:].mean(-1)
        return Quantile(value[..., :valued], tau[..., :valued], self.huber_delta, q)


def middles(count: int) -> Tensor:
    """Return the middles of `count` equal parts of [0, 1]."""
    return (torch.arange(count) + 0.5) / count
