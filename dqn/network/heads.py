"""Heads: features to a return distribution."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dqn.network.protocols import Generators, MakeLayer, MakeStreams, Streams
from dqn.types import AtLeastTwo, Finite, Positive, PositiveInt, Rng
from dqn.value import Categorical, Expected, Quantile


@dataclass(frozen=True, kw_only=True)
class HeadFactory:
    """Makes the modules that a head consists of.

    Args:
        in_features: number of features that the torso gives.
        num_actions: number of actions, A.
        make_streams: makes the streams.
        make_layer: makes the layers.
        generators: draw the parameters of each seed.
    """

    in_features: int
    num_actions: int
    make_streams: MakeStreams
    make_layer: MakeLayer
    generators: Generators

    @property
    def num_seeds(self) -> int:
        return len(self.generators)

    def streams(self, *, num_atoms: int) -> Streams:
        """Return a map from features [K, B, in_features] to numbers for each action [K, B, A, num_atoms]."""
        return self.make_streams(
            layer=self.make_layer,
            in_features=self.in_features,
            num_actions=self.num_actions,
            num_atoms=num_atoms,
            generators=self.generators,
        )

    def layer(self, *, in_features: int, out_features: int) -> nn.Module:
        """Return a layer from [K, B, in_features] to [K, B, out_features]."""
        return self.make_layer(in_features=in_features, out_features=out_features, generators=self.generators)


class ExpectedHead(nn.Module):
    """One value per action, [K, B, in_features] to Expected [K, B, A]."""

    def __init__(self, *, huber_delta: Positive | None, make: HeadFactory) -> None:
        super().__init__()
        self.huber_delta = huber_delta
        self.streams = make.streams(num_atoms=1)

    def forward(self, features: Tensor, rng: Rng | None) -> Expected:
        return Expected(self.streams.forward(features, rng).squeeze(-1), self.huber_delta)


class CategoricalHead(nn.Module):
    """Probabilities of `num_atoms` returns per action, [K, B, in_features] to Categorical [K, B, A, N].

    Bellemare et al. (2017): the returns lie evenly from v_min to v_max.
    """

    def __init__(self, *, num_atoms: AtLeastTwo, v_min: Finite, v_max: Finite, make: HeadFactory) -> None:
        super().__init__()
        self.register_buffer("returns", torch.linspace(v_min, v_max, num_atoms))
        self.streams = make.streams(num_atoms=num_atoms)

    returns: Tensor

    def forward(self, features: Tensor, rng: Rng | None) -> Categorical:
        logits = self.streams.forward(features, rng)
        return Categorical(torch.log_softmax(logits, -1), self.returns)


class QuantileHead(nn.Module):
    """Quantiles at the middles of N equal parts, [K, B, in_features] to Quantile [K, B, A, N].

    Dabney et al. (2018a), QR-DQN, lemma 2.
    """

    def __init__(
        self, *, num_quantiles: PositiveInt, huber_delta: Positive | None, make: HeadFactory
    ) -> None:
        super().__init__()
        self.huber_delta = huber_delta
        self.register_buffer("tau", middles(num_quantiles))
        self.streams = make.streams(num_atoms=num_quantiles)

    tau: Tensor

    def forward(self, features: Tensor, rng: Rng | None) -> Quantile:
        return Quantile(self.streams.forward(features, rng), self.tau, self.huber_delta)


class ImplicitQuantileHead(nn.Module):
    """Quantiles at fractions drawn anew, [K, B, in_features] to Quantile [K, B, A, N].

    Dabney et al. (2018b), IQN, eq. 4: the features are multiplied by an embedding of cos(pi i tau). Without
    rng the fractions are the middles of `num_action_samples` equal parts.

    Args:
        num_samples: fractions of a prediction, N.
        num_target_samples: fractions of a target, N'.
        num_action_samples: fractions by which an action is chosen, K in the paper; for the next state's
            action they are others than those of its target, as in eq. 3.
        num_cosines: of the embedding.
        huber_delta: as in QuantileHead.
        make: makes the streams and the layer of the embedding.
    """

    def __init__(
        self,
        *,
        num_samples: PositiveInt,
        num_target_samples: PositiveInt,
        num_action_samples: PositiveInt,
        num_cosines: PositiveInt,
        huber_delta: Positive | None,
        make: HeadFactory,
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
        self.register_buffer("tau", middles(num_action_samples).expand(make.num_seeds, 1, -1))
        self.register_buffer("frequencies", math.pi * torch.arange(num_cosines))
        self.embedding = make.layer(in_features=num_cosines, out_features=make.in_features)
        self.streams = make.streams(num_atoms=1)

    tau: Tensor
    frequencies: Tensor

    def forward(self, features: Tensor, rng: Rng | None) -> Quantile:
        count = self.counts["acting" if rng is None else rng.role]
        tau = self.tau if rng is None else rng.uniform(features.shape[1], count)  # [K, B or 1, N]
        cosines = torch.cos(tau.unsqueeze(-1) * self.frequencies).flatten(1, 2)
        embedded = torch.unflatten(torch.relu_(self.embedding.forward(cosines, rng)), 1, (-1, count))
        each = (embedded * features.unsqueeze(2)).flatten(1, 2)  # [K, B * N, in_features]
        value = torch.unflatten(self.streams.forward(each, rng).squeeze(-1), 1, (-1, count)).transpose(2, 3)
        if rng is None or rng.role != "target":
            return Quantile(value, tau, self.huber_delta)  # [K, B, A, N]
        valued = self.num_target_samples
        q = value[..., valued:].mean(-1)
        return Quantile(value[..., :valued], tau[..., :valued], self.huber_delta, q)


def middles(count: int) -> Tensor:
    """Return the middles of `count` equal parts of [0, 1]."""
    return (torch.arange(count) + 0.5) / count
