"""Heads: maps from features to return distributions."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dqn.network.protocols import Generators, MakeLayer, MakeStreams, Streams
from dqn.types import AtLeastTwo, Finite, Positive, PositiveInt, Rng
from dqn.value import Categorical, Expected, PrioritizedBy, Quantile, rescaled, restored


@dataclass(frozen=True, kw_only=True)
class HeadFactory:
    """Makes the modules of a head.

    Args:
        in_features: number of features of the torso.
        num_actions: A.
        make_streams: makes the streams.
        make_layer: makes the layers.
        generators: one for the initial parameters of each seed.
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
        """Return streams from features [K, B, in_features] to numbers [K, B, A, num_atoms]."""
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
    """One value per action: [K, B, in_features] to Expected [K, B, A]. Mnih et al. (2015).

    Args:
        huber_delta: error from which the loss is linear; None: the loss is squared.
        rescale: eps of value rescaling, see `dqn.value`; None: the network gives the returns themselves.
        make: makes the streams.
    """

    def __init__(self, *, huber_delta: Positive | None, rescale: Positive | None, make: HeadFactory) -> None:
        super().__init__()
        self.huber_delta, self.rescale = huber_delta, rescale
        self.streams = make.streams(num_atoms=1)

    def forward(self, features: Tensor, rng: Rng | None) -> Expected:
        return Expected(self.streams.forward(features, rng).squeeze(-1), self.huber_delta, self.rescale)


class CategoricalHead(nn.Module):
    """Probabilities of N atoms per action: [K, B, in_features] to Categorical [K, B, A, N].

    Bellemare et al. (2017), C51, section 4.1.

    Args:
        num_atoms: N.
        v_min: return of the first atom; the others follow at equal distances.
        v_max: return of the last atom.
        rescale: eps of value rescaling: the atoms are at equal distances once rescaled; None: as they are.
        make: makes the streams.
    """

    def __init__(
        self,
        *,
        num_atoms: AtLeastTwo,
        v_min: Finite,
        v_max: Finite,
        rescale: Positive | None,
        make: HeadFactory,
    ) -> None:
        super().__init__()
        self.rescale = rescale
        self.register_buffer("returns", spaced(v_min, v_max, num_atoms, rescale))
        self.streams = make.streams(num_atoms=num_atoms)

    returns: Tensor

    def forward(self, features: Tensor, rng: Rng | None) -> Categorical:
        logits = self.streams.forward(features, rng)
        return Categorical(torch.log_softmax(logits, -1), self.returns, self.rescale)


class QuantileHead(nn.Module):
    """N quantiles per action: [K, B, in_features] to Quantile [K, B, A, N]. Dabney et al. (2018a), QR-DQN.

    Their fractions tau are the midpoints of N equal parts of [0, 1] (lemma 2).

    Args:
        num_quantiles: N.
        huber_delta: error from which the quantile loss is linear; None: it is linear throughout. The loss is
            that of Dabney et al. (2018b), eq. 3; see `Quantile.loss`.
        rescale: as in ExpectedHead.
        prioritized_by: what prioritized replay takes as the error of a transition: the absolute TD error of
            the mean, or the loss.
        make: makes the streams.
    """

    def __init__(
        self,
        *,
        num_quantiles: PositiveInt,
        huber_delta: Positive | None,
        rescale: Positive | None,
        prioritized_by: PrioritizedBy,
        make: HeadFactory,
    ) -> None:
        super().__init__()
        self.huber_delta, self.rescale, self.prioritized_by = huber_delta, rescale, prioritized_by
        self.register_buffer("tau", midpoints(num_quantiles))
        self.streams = make.streams(num_atoms=num_quantiles)

    tau: Tensor

    def forward(self, features: Tensor, rng: Rng | None) -> Quantile:
        value = self.streams.forward(features, rng)
        return Quantile(value, self.tau, self.huber_delta, None, self.rescale, self.prioritized_by)


class ImplicitQuantileHead(nn.Module):
    """Quantiles at random fractions tau: [K, B, in_features] to Quantile [K, B, A, N].

    Dabney et al. (2018b), IQN, eq. 4: the features are multiplied by an embedding of cos(pi i tau). Without
    rng the fractions are the midpoints of `num_action_samples` equal parts of [0, 1].

    Args:
        num_samples: fractions of a prediction, N.
        num_target_samples: fractions of a target, N'.
        num_action_samples: fractions for choosing an action, K in the paper. The action of the next state
            has fractions separate from those of its target, as in eq. 3.
        num_cosines: cosines i of the embedding.
        huber_delta: as in QuantileHead.
        rescale: as in ExpectedHead.
        prioritized_by: as in QuantileHead.
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
        rescale: Positive | None,
        prioritized_by: PrioritizedBy,
        make: HeadFactory,
    ) -> None:
        super().__init__()
        self.huber_delta, self.rescale, self.prioritized_by = huber_delta, rescale, prioritized_by
        self.num_target_samples = num_target_samples
        self.counts = {
            "prediction": num_samples,
            "target": num_target_samples + num_action_samples,
            "action": num_action_samples,
            "acting": num_action_samples,
        }
        self.register_buffer("tau", midpoints(num_action_samples).expand(make.num_seeds, 1, -1))
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
        q = None
        if rng is not None and rng.role == "target":
            valued = self.num_target_samples
            q = restored(value[..., valued:], self.rescale).mean(-1)
            value, tau = value[..., :valued], tau[..., :valued]
        return Quantile(value, tau, self.huber_delta, q, self.rescale, self.prioritized_by)  # [K, B, A, N]


def midpoints(count: int) -> Tensor:
    """Return the midpoints of `count` equal parts of [0, 1]."""
    return (torch.arange(count) + 0.5) / count


def spaced(low: float, high: float, count: int, rescale: float | None) -> Tensor:
    """Return `count` returns from `low` to `high`, at equal distances once rescaled."""
    if rescale is None:
        return torch.linspace(low, high, count)
    first, last = rescaled(torch.tensor((low, high), dtype=torch.float64), rescale)
    even = torch.linspace(float(first), float(last), count, dtype=torch.float64)
    return restored(even, rescale).float()  # float64 before, so that the ends are `low` and `high`
