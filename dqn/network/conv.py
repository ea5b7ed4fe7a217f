"""Convolutions over the seed axis: kernels [K, out, in, size, size] and images [K, B, in, height, width]."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, fx, nn

from dqn.errors import WrongValue
from dqn.network.layers import ALIGNED, Activation, Initializer, activate, initial_bounds
from dqn.network.protocols import Generators, MakeLayer
from dqn.network.torsos import MLP
from dqn.types import Positive, PositiveInt, Rng

KEY = "network.torso"

Padding = Literal["valid", "same"]

MOST_INPUTS, MOST_COLUMNS = 128, 2**13
"""Largest kernel, in inputs, and largest number of inputs of all outputs of an image that `is_small`.

Measured: MinAtar's images of 10x10 pixels are below, the layers of Mnih et al. (2015) above.
"""

NARROW = 8
"""Outputs in a row below which the columns of all samples of a pixel are copied together."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and behind `size` pixels with which they give ceil(size / stride) outputs.

    They are those of TensorFlow and JAX: where their number is odd, one more is behind.
    """
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def output_size(size: int, kernel: int, stride: int, padding: Padding) -> int:
    """Return the outputs of a convolution along an axis of `size` pixels; 0 if the kernel is larger."""
    return math.ceil(size / stride) if padding == "same" else max(0, (size - kernel) // stride + 1)


def convolve(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: Padding) -> Tensor:
    """Return the images [K, B, out, H', W'] that each seed's kernels make of its images [K, B, in, H, W].

    On the CPU small images have one product for all seeds. Otherwise each seed has its own call of conv2d: a
    grouped convolution and torch.func.vmap are slower on CPUs and round differently beside other seeds, and
    `weight[k]` would have a gradient of the size of all seeds.

    Args:
        x: the images.
        weight: kernels [K, out, in, size, size].
        bias: added to each output [K, out].
        stride: pixels between neighbouring outputs.
        padding: valid: kernels stay inside the image; same: zeros around it, see `same_padding`.
    """
    kernel = weight.shape[-1]
    sizes = [output_size(size, kernel, stride, padding) for size in x.shape[-2:]]
    low = [0, 0]
    if padding == "same":
        ends = [same_padding(size, kernel, stride) for size in x.shape[-2:]]
        low = [before for before, _ in ends]  # conv2d pads both sides alike
        if any(before != behind for before, behind in ends):
            x = nn.functional.pad(x, (0, ends[1][1] - low[1], 0, ends[0][1] - low[0]))
    if (
        is_small(weight, x.shape[1], math.prod(sizes))
        and x.device.type == "cpu"
        and not torch.compiler.is_exporting()
    ):
        padded = nn.functional.pad(x, (low[1], low[1], low[0], low[0])) if any(low) else x
        return by_columns(padded, weight, bias, stride)
    seeds = zip(separated(x), weight.unbind(), bias.unbind(), strict=True)
    made = [nn.functional.conv2d(*each, stride=stride, padding=low) for each in seeds]
    apart = len(made) > 1 and made[0].numel() % ALIGNED != 0
    return torch.stack([one * 1 for one in made] if apart else made)  # the product's gradient is a new tensor


def is_small(weight: Tensor, batch: int, pixels: int) -> bool:
    """Return whether one product of columns is faster than a convolution for each seed, and as exact.

    Args:
        weight: kernels [K, out, in, size, size].
        batch: images of a seed.
        pixels: outputs of a kernel in an image.
    """
    inputs = math.prod(weight.shape[2:])
    is_aligned = batch * pixels % ALIGNED == 0 and inputs * weight.shape[1] % ALIGNED == 0
    return is_aligned and inputs <= MOST_INPUTS and inputs * pixels <= MOST_COLUMNS


def by_columns(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Return what `convolve` returns for images without padding, by one product for all seeds.

    The columns [K, inputs, B * H' * W'] hold what each output reads; the samples come last where the rows of
    outputs are narrow, because copying such short rows takes several times as long. The result is copied,
    because a ReLU that overwrites a view slows the backward pass.
    """
    kernel, (num_seeds, batch, channels) = weight.shape[-1], x.shape[:3]
    is_narrow = output_size(x.shape[-1], kernel, stride, "valid") < NARROW
    if is_narrow:
        x = x.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3)
    windows = x.unfold(3, kernel, stride).unfold(4, kernel, stride)  # [K, B, in, H', W', size, size]
    sizes = windows.shape[3:5]
    order = (0, 2, 5, 6, 3, 4, 1) if is_narrow else (0, 2, 5, 6, 1, 3, 4)
    columns = windows.permute(order).reshape(num_seeds, channels * kernel**2, -1)
    made = torch.bmm(weight.flatten(2), columns).add_(bias.unsqueeze(2))
    if is_narrow:
        return made.view(num_seeds, -1, *sizes, batch).permute(0, 4, 1, 2, 3).contiguous()
    return made.view(num_seeds, -1, batch, *sizes).transpose(1, 2).contiguous()


def separated(x: Tensor) -> list[Tensor]:
    """Return the part of each seed of x [K, ...], which begins at an aligned address.

    The kernels for few samples round the gradient of the weights differently between such addresses.
    """
    parts = list(x.unbind())
    apart = len(parts) > 1 and parts[0].numel() % ALIGNED != 0
    return [part.clone() for part in parts] if apart else parts


fx.wrap("convolve")  # tracing sees one call: it cannot follow a loop over seeds


class Convolution(nn.Module):
    """K convolutions: [K, B, in_channels, H, W] to [K, B, out_channels, H', W'].

    Each seed's kernels and biases are drawn from its generator, uniformly within `initial_bounds`:
    with `torch` as torch.nn.Conv2d draws them.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: Padding,
        initializer: Initializer,
        generators: Generators,
    ) -> None:
        super().__init__()
        area = kernel_size**2
        bound, bias_bound = initial_bounds(initializer, in_channels * area, out_channels * area)
        self.weight = nn.Parameter(
            torch.empty(len(generators), out_channels, in_channels, kernel_size, kernel_size)
        )
        self.bias = nn.Parameter(torch.empty(len(generators), out_channels))
        with torch.no_grad():
            for weight, bias, generator in zip(self.weight, self.bias, generators, strict=True):
                weight.uniform_(-bound, bound, generator=generator)
                bias.uniform_(-bias_bound, bias_bound, generator=generator)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, self.stride, self.padding)


class Conv(nn.Module):
    """Convolutions and fully connected layers: images [K, B, C, H, W] to [K, B, out_features].

    An observation may have further numbers: [K, B, C * H * W + vector_size], the image first. They join the
    convolutions' features before the fully connected layers.

    Args:
        channels: outputs of each convolution.
        width: factor of all `channels`.
        kernel_sizes: height and width of each convolution's kernels.
        strides: pixels between neighbouring outputs of each convolution.
        padding: valid: no padding; same: zeros, so that the image shrinks by the strides alone.
        initializer: initial parameters of the convolutions, see `Convolution`.
        hidden_sizes: units of each fully connected layer behind them.
        activation: after each convolution and layer.
        layer: makes the fully connected layers.
        in_shape: shape of an image, (C, H, W) or (H, W).
        vector_size: further numbers of an observation.
        generators: one for the initial parameters of each seed.

    Raises:
        WrongValue: the observations are no images, an image is smaller than a kernel, or the lists of
            convolutions differ in length.
    """

    def __init__(
        self,
        *,
        channels: list[PositiveInt],
        width: Positive,
        kernel_sizes: list[PositiveInt],
        strides: list[PositiveInt],
        padding: Padding,
        initializer: Initializer,
        hidden_sizes: list[PositiveInt],
        activation: Activation,
        layer: MakeLayer,
        in_shape: Sequence[int],
        vector_size: int,
        generators: Generators,
    ) -> None:
        super().__init__()
        for key, values in {"kernel_sizes": kernel_sizes, "strides": strides}.items():
            if len(values) != len(channels):
                should = f"should have one number for each of {KEY}.channels={channels}"
                raise WrongValue(f"{KEY}.{key}", values, should)
        self.image_shape, self.vector_size = image_shape(in_shape, "Conv"), vector_size
        counts = [self.image_shape[0], *(scaled(count, width) for count in channels)]
        size: tuple[int, ...] = self.image_shape[1:]
        self.convolutions = nn.ModuleList()
        for i, (kernel, stride) in enumerate(zip(kernel_sizes, strides, strict=True)):
            shrunk = tuple(output_size(one, kernel, stride, padding) for one in size)
            if 0 in shrunk:
                raise WrongValue(f"{KEY}.kernel_sizes[{i}]", kernel, too_large(i, size, self.image_shape))
            size = shrunk
            self.convolutions.append(
                Convolution(
                    in_channels=counts[i],
                    out_channels=counts[i + 1],
                    kernel_size=kernel,
                    stride=stride,
                    padding=padding,
                    initializer=initializer,
                    generators=generators,
                )
            )
        self.activation = activation
        self.dense = MLP(
            hidden_sizes=hidden_sizes,
            activation=activation,
            layer_norm=False,
            layer=layer,
            in_shape=(counts[-1] * math.prod(size) + vector_size,),
            generators=generators,
        )
        self.out_features = self.dense.out_features

    def forward(self, x: Tensor, rng: Rng | None) -> Tensor:
        image, vector = split(x, self.image_shape, self.vector_size)
        for convolution in self.convolutions:
            image = activate(convolution.forward(image), self.activation)
        return self.dense.forward(joined(image, vector), rng)


def scaled(channels: int, width: float) -> int:
    """Return a number of channels times a factor, at least 1."""
    return max(1, round(channels * width))


def too_large(index: int, size: Sequence[int], image: Sequence[int]) -> str:
    """Return what a kernel should be that is larger than what it reads."""
    height, width = size
    should = f"should be at most {min(size)}: convolution {index + 1} reads {height} x {width} pixels"
    if index:
        should += f" of the image's {image[1]} x {image[2]}"
    if image[0] > min(image[1:]):
        should += f" in {image[0]} channels (env.channels says which axis they are)"
    return f"{should}; {KEY}.padding=same pads them, network/torso=minatar is for small images"


def image_shape(in_shape: Sequence[int], torso: str) -> tuple[int, int, int]:
    """Return (C, H, W) of the observations of a torso, where a matrix is an image of one channel.

    Raises:
        WrongValue: the observations are no images.
    """
    if len(in_shape) not in (2, 3):
        should = f"needs images, and the observations have the shape {tuple(in_shape)}; type "
        stack = f"env.frame_stack={in_shape[0]} in place of a wrapper that stacks images"
        advice = stack if len(in_shape) == 4 else "network/torso=mlp"
        raise WrongValue(f"{KEY}._target_", f"dqn.network.{torso}", should + advice)
    channels, height, width = in_shape if len(in_shape) == 3 else (1, *in_shape)
    return channels, height, width


def split(x: Tensor, shape: tuple[int, int, int], vector_size: int) -> tuple[Tensor, Tensor | None]:
    """Return the images [K, B, C, H, W] and the further numbers [K, B, vector_size] of observations."""
    if not vector_size:
        return torch.unflatten(x.flatten(2), -1, shape), None
    return torch.unflatten(x[..., :-vector_size], -1, shape), x[..., -vector_size:]


def joined(image: Tensor, vector: Tensor | None) -> Tensor:
    """Return the features [K, B, features] of images [K, B, C, H, W] and of further numbers."""
    features = image.flatten(2)
    return features if vector is None else torch.cat((features, vector), -1)
