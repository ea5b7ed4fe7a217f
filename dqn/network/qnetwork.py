"""The Q-network: observation, torso, head with its streams."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dqn.errors import WrongValue
from dqn.network.heads import HeadFactory
from dqn.network.protocols import Generators, MakeHead, MakeLayer, MakeStreams, MakeTorso, Torso
from dqn.network.recurrent import Recurrent, is_recurrent, reads_images, takes
from dqn.types import EnvSpec, Finite, Image, ObsSpec, Positive, Rng, Window
from dqn.value import ReturnDistribution


class QNetwork(nn.Module):
    """Maps observations [K, B, ...] to the return distributions of all actions [K, B, A].

    Args:
        obs_low: numbers of an observation that are scaled to -1; None: observations are not scaled.
        obs_high: numbers of an observation that are scaled to 1, linearly also beyond.
        obs_scale: factor of the observation's numbers; auto: that of the environment's observations.
        sees_action: whether a recurrent torso also reads the previous action and reward.
        torso: makes the torso.
        streams: makes the streams of the head.
        head: makes the head.
        layer: makes the layers of all three.
        spec: observations and actions.
        generators: one for the initial parameters of each seed.

    Raises:
        ValueError: obs_low, obs_high and obs_scale do not fit each other or the observations, or sees_action
            is set for a torso that is not recurrent.
    """

    def __init__(
        self,
        *,
        obs_low: list[Finite] | None,
        obs_high: list[Finite] | None,
        obs_scale: Literal["auto"] | Positive,
        sees_action: bool,
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
        self.scale = scale_of(obs_scale, spec.obs, has_range=self.has_range)
        self.previous_size = (spec.num_actions + 1) * sees_action
        """Numbers of the previous action, one-hot, and its reward; 0 if the network does not see them."""
        self.torso = make_torso(
            torso, obs=spec.obs, layer=layer, generators=generators, previous_size=self.previous_size
        )
        self.carry_size: int = getattr(self.torso, "carry_size", 0)
        """Numbers that a recurrent network remembers of an episode; 0: it remembers nothing."""
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
        """Return the distributions; without `rng` nothing is random.

        A recurrent network takes the observations for the first of their episodes.
        """
        # .forward, here and below: in small networks __call__ costs as much as the products
        features = self.torso.forward(self.encode(obs), rng)
        return self.head.forward(features, rng)

    def step(
        self, obs: Tensor, carry: Tensor, previous: Tensor, rng: Rng | None = None
    ) -> tuple[ReturnDistribution, Tensor]:
        """Return the distributions of a recurrent network, and its carry after these observations.

        Args:
            obs: observations [K, B, ...].
            carry: the network's memory of their episodes [K, B, carry_size]; zeros at the first step.
            previous: the previous actions, one-hot, and rewards [K, B, A + 1], zeros at the first step; not
                read if the network does not see them.
            rng: random numbers; None: nothing is random.
        """
        torso, seen = self.recurrent, previous if self.previous_size else None
        features, carry = torso.step(torso.prepare(self.encode(obs), seen, rng), carry, rng)
        return self.head.forward(features, rng), carry

    def unroll(self, obs: Tensor, window: Window, rng: Rng | None) -> Tensor:
        """Return the features [K, T, B, F] of the steps of windows from where they learn.

        Args:
            obs: observations, those of the burn-in before the others [K, burn_in + T, B, ...].
            window: what else the network needs of the windows.
            rng: random numbers; None: nothing is random.
        """
        burn_in = 0 if window.exists is None else window.exists.shape[1]
        carry = window.carry
        if carry is None:
            carry = torch.zeros((obs.shape[0], obs.shape[2], self.carry_size), device=obs.device)
        if burn_in and window.exists is not None:
            with torch.no_grad():
                prepared = self._prepared(obs[:, :burn_in], window.previous, rng)
            carry = self.recurrent.burn_in(prepared, carry, window.exists, rng)
        previous = None if window.previous is None else window.previous[:, burn_in:]
        return self.recurrent.unroll(self._prepared(obs[:, burn_in:], previous, rng), carry, rng)

    def _prepared(self, obs: Tensor, previous: Tensor | None, rng: Rng | None) -> Tensor:
        """Return what the cell needs of observations [K, T, B, ...], [K, T, B, P]."""
        steps = obs.shape[1:3]
        if previous is not None:
            previous = previous[:, : steps[0]].flatten(1, 2)
        prepared = self.recurrent.prepare(self.encode(obs.flatten(1, 2)), previous, rng)
        return torch.unflatten(prepared, 1, steps)

    @property
    def memory_sizes(self) -> tuple[int, int]:
        """Return the numbers of the carry and of the previous action and reward."""
        return self.carry_size, self.previous_size

    @property
    def recurrent(self) -> Recurrent:
        """Return the torso of a recurrent network."""
        assert isinstance(self.torso, Recurrent)
        return self.torso

    def mixed(self, obs: Tensor, rng: Rng | None = None) -> ReturnDistribution:
        """Return the distributions, with the products of the torso in bfloat16 and the head in float32.

        Values of bfloat16 have 8 bits, too few for the differences between actions.
        """
        with torch.autocast(obs.device.type, torch.bfloat16):
            features = self.torso.forward(self.encode(obs), rng)
        return self.head.forward(features.float(), rng)

    def encode(self, obs: Tensor) -> Tensor:
        """Return the torso's input [K, B, *encoded_shape], float32.

        Discrete observations are one-hot, the numbers of others are scaled, and images have their channels
        first.
        """
        if self.obs.num_categories:
            return nn.functional.one_hot(obs.long(), self.obs.num_categories).float()
        image = self.obs.image
        if self.has_range:
            obs = (obs.float() - self.middle) * self.inverse
        if image is None:
            return self.scaled(obs)
        if not image.rest:
            return self.scaled(self.planes(obs, image))
        split = math.prod(image.shape)
        planes = self.planes(torch.unflatten(obs[..., :split], -1, image.shape), image)
        return self.scaled(torch.cat((planes.flatten(2), obs[..., split:].flatten(2)), -1))

    def planes(self, obs: Tensor, image: Image) -> Tensor:
        """Return images [K, B, (stack,) *shape] as [K, B, stack * C, H, W], contiguous."""
        is_stacked = self.obs.stack > 1
        if len(image.shape) == 2:
            return obs if is_stacked else obs.unsqueeze(2)
        if image.channels_last:  # bytes are moved before they become floats: a quarter of the memory
            obs = obs.permute(*(0, 1, 2, 5, 3, 4) if is_stacked else (0, 1, 4, 2, 3)).contiguous()
        return obs.flatten(2, 3) if is_stacked else obs

    def scaled(self, obs: Tensor) -> Tensor:
        """Return numbers as float32, scaled."""
        x = obs.float()
        if self.scale == 1:
            return x
        is_new = self.obs.dtype != "float32"  # of what `float` returned
        return x.mul_(self.scale) if is_new else x * self.scale


def make_torso(
    make: MakeTorso, *, obs: ObsSpec, layer: MakeLayer, generators: Generators, previous_size: int = 0
) -> Torso:
    """Return a torso for observations; one that takes `vector_size` reads further numbers beside an image.

    Raises:
        WrongValue: `previous_size` is not 0, but the torso is not recurrent.
    """
    in_shape, vector_size = obs.encoded_shape, 0
    if reads_images(make) and obs.image is not None and obs.image.rest:
        channels, *size = obs.image.planes
        in_shape, vector_size = (obs.stack * channels, *size), obs.stack * obs.image.rest
    given: dict[str, Any] = {"in_shape": in_shape}
    if takes(make, "vector_size"):
        given["vector_size"] = vector_size
    if is_recurrent(make):
        given["previous_size"] = previous_size
    elif previous_size:
        should = "should be false, because network.torso is not recurrent; network/torso=gru is"
        raise WrongValue("network.sees_action", True, should)
    return make(layer=layer, generators=generators, **given)


def scale_of(given: float | Literal["auto"], obs: ObsSpec, *, has_range: bool) -> float:
    """Return the factor of observations.

    Raises:
        ValueError: another key scales these observations, or they are not scaled.
    """
    if given == "auto":
        return obs.scale
    if has_range:
        raise ValueError(
            "should be auto, because network.obs_low and network.obs_high scale the observations"
        )
    if obs.num_categories:
        raise ValueError("should be auto for discrete observations, which the network reads one-hot")
    return given


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
