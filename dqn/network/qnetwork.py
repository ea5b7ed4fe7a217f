"""The Q-network: observation, torso, head with its streams."""

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dqn.network.heads import HeadFactory
from dqn.network.protocols import Generators, MakeHead, MakeLayer, MakeStreams, MakeTorso, Torso
from dqn.network.recurrent import Core, MakeCore, burn_in, unroll
from dqn.types import EnvSpec, Finite, Image, ObsSpec, Positive, Rng, Window
from dqn.value import ReturnDistribution


class QNetwork(nn.Module):
    """Maps observations [K, B, ...] to the return distributions of all actions [K, B, A].

    Args:
        obs_low: numbers of an observation that are scaled to -1; None: observations are not scaled.
        obs_high: numbers of an observation that are scaled to 1, linearly also beyond.
        obs_scale: factor of the observation's numbers; auto: that of the environment's observations.
        torso: makes the torso.
        core: makes the recurrent core behind the torso; None: the network remembers nothing.
        sees_action: whether the core also reads the previous action and reward.
        streams: makes the streams of the head.
        head: makes the head.
        layer: makes the layers of all three.
        spec: observations and actions.
        generators: one for the initial parameters of each seed.

    Raises:
        ValueError: obs_low, obs_high and obs_scale do not fit each other or the observations, or sees_action
            is set without a core.
    """

    def __init__(
        self,
        *,
        obs_low: list[Finite] | None,
        obs_high: list[Finite] | None,
        obs_scale: Literal["auto"] | Positive,
        torso: MakeTorso,
        core: MakeCore | None,
        sees_action: bool,
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
        if spec.obs.num_categories:  # torch's one_hot looks at the values, which tracing an update lacks
            self.register_buffer("categories", torch.arange(spec.obs.num_categories), persistent=False)
        self.scale = scale_of(obs_scale, spec.obs, has_range=self.has_range)
        self.torso = make_torso(torso, obs=spec.obs, layer=layer, generators=generators)
        if sees_action and core is None:
            raise ValueError("sees_action should be false without a core")
        self.previous_size = (spec.num_actions + 1) * sees_action
        """Numbers of the previous action, one-hot, and its reward; 0 if the network does not see them."""
        features, self.carry_size = self.torso.out_features, 0
        if core is not None:
            self.core = core(in_features=features + self.previous_size, generators=generators)
            features, self.carry_size = self.core.out_features, self.core.carry_size
        self.head = head(
            make=HeadFactory(
                in_features=features,
                num_actions=spec.num_actions,
                make_streams=streams,
                make_layer=layer,
                generators=generators,
            )
        )

    middle: Tensor
    inverse: Tensor
    categories: Tensor
    core: Core
    """The recurrent core, if `carry_size` is not 0: the numbers that it remembers of an episode."""

    def forward(self, obs: Tensor, rng: Rng | None = None) -> ReturnDistribution:
        """Return the distributions; without `rng` nothing is random.

        A recurrent network takes the observations for the first of their episodes.
        """
        # .forward, here and below: in small networks __call__ costs as much as the products
        if self.carry_size:
            zeros = torch.zeros(*obs.shape[:2], sum(self.memory_sizes), device=obs.device)
            carry, previous = torch.split(zeros, list(self.memory_sizes), -1)
            return self.step(obs, carry, previous, rng)[0]
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
        carry = self.core.forward(self._prepared(obs, previous, rng), carry, rng)
        return self.head.forward(carry[..., : self.core.out_features], rng), carry

    def unroll(self, obs: Tensor, window: Window, rng: Rng | None) -> Tensor:
        """Return the features [K, T, B, F] of the steps of windows from where they learn.

        Args:
            obs: observations, those of the burn-in before the others [K, burn_in + T, B, ...].
            window: what else the network needs of the windows.
            rng: random numbers; None: nothing is random.
        """
        first = 0 if window.exists is None else window.exists.shape[1]

        def prepared(steps: slice) -> Tensor:
            part = obs[:, steps]
            previous = None if window.previous is None else window.previous[:, steps].flatten(1, 2)
            return torch.unflatten(self._prepared(part.flatten(1, 2), previous, rng), 1, part.shape[1:3])

        carry = window.carry
        if carry is None:
            carry = torch.zeros((obs.shape[0], obs.shape[2], self.carry_size), device=obs.device)
        if window.exists is not None:
            with torch.no_grad():
                carry = burn_in(self.core, prepared(slice(first)), carry, window.exists, rng)
        return unroll(self.core, prepared(slice(first, None)), carry, rng)

    def _prepared(self, obs: Tensor, previous: Tensor | None, rng: Rng | None) -> Tensor:
        """Return what the core needs of observations [K, N, ...], [K, N, P]."""
        features = self.torso.forward(self.encode(obs), rng)
        if self.previous_size and previous is not None:
            features = torch.cat((features, previous), -1)
        return self.core.prepare(features, rng)

    @property
    def memory_sizes(self) -> tuple[int, int]:
        """Return the numbers of the carry and of the previous action and reward."""
        return self.carry_size, self.previous_size

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
            return (obs.long().unsqueeze(-1) == self.categories).float()  # no kernel compares uint16
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


def make_torso(make: MakeTorso, *, obs: ObsSpec, layer: MakeLayer, generators: Generators) -> Torso:
    """Return a torso for observations; one that takes `vector_size` reads further numbers beside an image."""
    given: dict[str, Any] = {"in_shape": obs.encoded_shape}
    if reads_images(make):
        given["vector_size"] = 0
        if obs.image is not None and obs.image.rest:
            channels, *size = obs.image.planes
            given = {"in_shape": (obs.stack * channels, *size), "vector_size": obs.stack * obs.image.rest}
    return make(layer=layer, generators=generators, **given)


def reads_images(make: Callable[..., Any]) -> bool:
    """Return whether a torso reads the image of an observation as such, and the further numbers beside it."""
    return "vector_size" in inspect.signature(make).parameters


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
