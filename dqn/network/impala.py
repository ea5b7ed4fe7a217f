"""The residual convolutional torso of IMPALA over the seed axis."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from dqn.network.conv import Convolution, image_shape, joined, output_size, same_padding, scaled, split
from dqn.network.layers import Initializer
from dqn.network.protocols import Generators, MakeLayer
from dqn.network.torsos import MLP
from dqn.types import NonNegativeInt, Positive, PositiveInt, Rng

POOL_SIZE, POOL_STRIDE = 3, 2


def max_pool(x: Tensor, size: int, stride: int) -> Tensor:
    """Return the largest of each size x size pixels of images [K, B, C, H, W], with `same_padding`."""
    low = [same_padding(length, size, stride)[0] for length in x.shape[-2:]]
    # ceil_mode leaves out the pixels behind the image that same_padding would add
    pooled = nn.functional.max_pool2d(x.flatten(0, 1), size, stride, low, ceil_mode=True)
    return torch.unflatten(pooled, 0, x.shape[:2])


fx.wrap("max_pool")  # its padding depends on the shape, which a trace lacks


class Impala(nn.Module):
    """Stacks of a convolution, max pooling and residual blocks, then fully connected layers.

    Espeholt et al. (2018), figure 3, with the padding of TensorFlow and without the LSTM. Images
    [K, B, C, H, W] to [K, B, out_features], and further numbers, as in `Conv`.

    Args:
        channels: channels of each stack, which halves the image's height and width.
        width: factor of all `channels`.
        blocks: residual blocks of each stack.
        initializer: initial parameters of the convolutions, see `Convolution`.
        hidden_sizes: units of each fully connected layer behind them.
        layer: makes the fully connected layers.
        in_shape: shape of an image, (C, H, W) or (H, W).
        vector_size: further numbers of an observation.
        generators: one for the initial parameters of each seed.

    Raises:
        WrongValue: the observations are no images.
    """

    def __init__(
        self,
        *,
        channels: list[PositiveInt],
        width: Positive,
        blocks: NonNegativeInt,
        initializer: Initializer,
        hidden_sizes: list[PositiveInt],
        layer: MakeLayer,
        in_shape: Sequence[int],
        vector_size: int,
        generators: Generators,
    ) -> None:
        super().__init__()
        self.image_shape, self.vector_size = image_shape(in_shape, "Impala"), vector_size
        count, *size = self.image_shape
        self.stacks = nn.ModuleList()
        for each in channels:
            wide = scaled(each, width)
            self.stacks.append(Stack(count, wide, blocks, initializer, generators))
            count, size = wide, [output_size(one, POOL_SIZE, POOL_STRIDE, "same") for one in size]
        self.dense = MLP(
            hidden_sizes=hidden_sizes,
            activation="relu",
            layer_norm=False,
            layer=layer,
            in_shape=(count * math.prod(size) + vector_size,),
            generators=generators,
        )
        self.out_features = self.dense.out_features

    def forward(self, x: Tensor, rng: Rng | None) -> Tensor:
        image, vector = split(x, self.image_shape, self.vector_size)
        for stack in self.stacks:
            image = stack.forward(image)
        return self.dense.forward(joined(torch.relu(image), vector), rng)


class Stack(nn.Module):
    """A convolution, max pooling and residual blocks: [K, B, C, H, W] to [K, B, C', H / 2, W / 2]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        blocks: int,
        initializer: Initializer,
        generators: Generators,
    ) -> None:
        super().__init__()
        self.first = convolution(in_channels, out_channels, initializer, generators)
        self.blocks = nn.ModuleList(Block(out_channels, initializer, generators) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = max_pool(self.first.forward(x), POOL_SIZE, POOL_STRIDE)
        for block in self.blocks:
            x = block.forward(x)
        return x


class Block(nn.Module):
    """The sum of images and of two convolutions of them, in the images' shape [K, B, C, H, W]."""

    def __init__(self, channels: int, initializer: Initializer, generators: Generators) -> None:
        super().__init__()
        self.first, self.second = (convolution(channels, channels, initializer, generators) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second.forward(torch.relu_(self.first.forward(torch.relu(x))))


def convolution(
    in_channels: int, out_channels: int, initializer: Initializer, generators: Generators
) -> Convolution:
    """Return a convolution with kernels of 3 x 3 pixels that keeps the height and width of images."""
    return Convolution(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=3,
        stride=1,
        padding="same",
        initializer=initializer,
        generators=generators,
    )
