"""The Q-network: observation, torso, head with its streams."""

import math

import torch
from torch import Tensor, nn

from dqn.network.heads import HeadFactory
from dqn.network.protocols import Generators, MakeHead, MakeLayer, MakeStreams, MakeTorso
from dqn.types import EnvSpec, Finite, ObsSpec, Rng
from dqn.value import ReturnDistribution


class QNetwork(nn.Module):
    """Maps observations [K, B, ...] to the return distributions of all actions [K, B, A].

    Args:
        obs_low: numbers of an observation that are scaled to -1; None: observations are not scaled.
        obs_high: numbers of an observation that are scaled to 1, linearly also beyond.
        torso: makes the torso.
        streams: makes the streams of the head.
        head: makes the head.
        layer: makes the layers of all three.
        spec: observations and actions.
        generators: one for the initial parameters of each seed.

    Raises:
        ValueError: obs_low and obs_high do not fit each other or the observations.
    """

    def __init__(
        self,
        *,
        obs_low: list[Finite] | None,
        obs_high: list[Finite] | None,
        torso: MakeTorso,
        streams: MakeStreams,
        head: MakeHead,
        layer: MakeLayer,
        spec: EnvSpec,
        generators: Generators,
    ) -> None:
        super().__init__()
        self.obs = spec.obs
        self.has_range = obs_low is not None or obs_high is not None
        if self.has_range:
            low, high = range_of(obs_low, obs_high, spec.obs)
            self.register_buffer("middle", (low + high) / 2)
            self.register_buffer("inverse", 2 / (high - low))
        self.torso = torso(layer=layer, in_shape=self.obs.encoded_shape, generators=generators)
        self.head = head(
            make=HeadFactory(
                in_features=self.torso.out_features,
                num_actions=spec.num_actions,
                make_streams=streams,
                make_layer=layer,
                generators=generators,
            )
        )

    middle: Tensor
    inverse: Tensor

    def forward(self, obs: Tensor, rng: Rng | None = None) -> ReturnDistribution:
        """Return the distributions; without `rng` nothing is random."""
        # .forward, here and below: in small networks __call__ costs as much as the products
        features = self.torso.forward(self.encode(obs), rng)
        return self.head.forward(features, rng)

    def mixed(self, obs: Tensor, rng: Rng | None = None) -> ReturnDistribution:
        """Return the distributions, with the products of the torso in bfloat16 and the head in float32.

        Values of bfloat16 have 8 bits, too few for the differences between actions.
        """
        with torch.autocast(obs.device.type, torch.bfloat16):
            features = self.torso.forward(self.encode(obs), rng)
        return self.head.forward(features.float(), rng)

    def encode(self, obs: Tensor) -> Tensor:
        """Return the torso's input, float32: one-hot for discrete observations, else scaled numbers."""
        if self.obs.num_categories:
            return nn.functional.one_hot(obs.long(), self.obs.num_categories).float()
        x = obs.float()
        if self.has_range:
            return (x - self.middle) * self.inverse
        return x if self.obs.scale == 1 else x * self.obs.scale


def range_of(low: list[Finite] | None, high: list[Finite] | None, obs: ObsSpec) -> tuple[Tensor, Tensor]:
    """Return the lower and upper ends of the range of observations, in their shape.

    Raises:
        ValueError: the ends do not fit each other or the observations.
    """
    if low is None or high is None:
        raise ValueError("network.obs_low and network.obs_high should be given together")
    size = math.prod(obs.shape)
    if obs.num_categories or obs.scale != 1 or len(low) != size or len(high) != size:
        raise ValueError(
            f"network.obs_low and obs_high should be {size} numbers each, for numeric observations"
        )
    if any(a >= b for a, b in zip(low, high, strict=True)):
        raise ValueError("each number of network.obs_high should be above that of network.obs_low")
    return torch.tensor(low).reshape(obs.shape), torch.tensor(high).reshape(obs.shape)
