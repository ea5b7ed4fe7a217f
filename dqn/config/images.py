"""Warnings about observations with images, and what the torso makes of them."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from dqn.config.parts import make
from dqn.env import EnvFactory, image_of, images_in
from dqn.env.spec import Channels
from dqn.network import reads_images
from dqn.types import Image, ObsSpec

LARGE = 2_000
"""Numbers of an image from which on convolutions learn much faster than fully connected layers."""
BYTES = 255
"""Highest number of a byte."""
SMALLEST = 36
"""Height and width of the smallest image that network/torso=nature reads."""


def image_warnings(network: Mapping[str, Any], factory: EnvFactory, obs: ObsSpec) -> Iterator[str]:
    """Yield sentences about what a network makes of observations that may not be what the user wants.

    Args:
        network: the node network.
        factory: makes the environment.
        obs: its observations.
    """
    if obs.image is None:
        return
    torso = network["torso"]
    channels, *size = obs.image.planes
    is_unscaled = network["obs_scale"] == "auto" and network["obs_low"] is network["obs_high"] is None
    if is_unscaled and not obs.image.rest:  # a factor would be that of the rest too
        yield from of_scale(factory)
    if reads_images(make(dict(torso))):
        yield from of_channels(factory.channels, obs.image)
        if obs.image.rest:
            yield from of_several(factory)
    elif torso["_target_"] == "dqn.network.MLP" and math.prod(size) * channels > LARGE:
        option = "nature" if min(size) >= SMALLEST else "minatar"
        numbers = math.prod(size) * channels * obs.stack
        yield (
            f"network/torso=mlp learns slowly from the {numbers:,} numbers of images; type"
            f" network/torso={option}, which reads them by convolutions"
        )


def of_scale(factory: EnvFactory) -> Iterator[str]:
    """Yield a sentence if the largest image has the range of bytes in another type, which is not scaled."""
    image, _ = images_in(factory.observation_space)[0]
    if isinstance(image, spaces.Box) and image.dtype != np.uint8 and BYTES <= image.high.max() < math.inf:
        high = image.high.max()
        scale = f"network.obs_scale={1 / high:.4g} makes them at most 1"
        yield f"images of {image.dtype} up to {high:g} are not scaled; {scale}"


def of_channels(channels: Channels, image: Image) -> Iterator[str]:
    """Yield a sentence if env.channels takes an image's height or width for its channels."""
    auto = image_of(spaces.MultiBinary(list(image.shape)), "auto")
    if auto is not None and auto.planes != image.planes:
        pairs = ((channels, image.planes), ("auto", auto.planes))
        reads = [f"env.channels={key} reads {c} channels of {h} x {w} pixels" for key, (c, h, w) in pairs]
        yield f"of images {list(image.shape)}, {', and '.join(reads)}"


def of_several(factory: EnvFactory) -> Iterator[str]:
    """Yield a sentence if observations have more than one image."""
    first, *others = [list(part.shape or ()) for part, _ in images_in(factory.observation_space)]
    if others:
        yield (
            f"{factory.id} observes {1 + len(others)} images; network.torso reads the one of shape {first} by"
            f" convolutions, and the numbers of {', '.join(map(str, others))} like those of a vector"
        )
