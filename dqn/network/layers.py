"""Layers with the seed axis: parameters [K, ...], inputs [K, B, ...]."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, fx, nn

from dqn.network.protocols import Generators
from dqn.types import Positive, Rng

ALIGNED = 4
"""Multiple of numbers, 16 bytes, at which each seed's part of a product should begin.

Between multiples, the products of torch's MKL round differently: the product itself and its gradient by the
weights, which are written there, and its gradient by the input, which reads the gradient of the product.
"""

Activation = Literal["relu", "tanh", "elu", "gelu", "silu"]
Initializer = Literal["torch", "xavier", "variance_scaling"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "elu": nn.functional.elu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
}
"""The activations whose vector body and scalar tail round differently; ReLU does not round."""

WIDEST = 64
"""Multiple of numbers that a vectorized loop of any processor leaves no tail of."""


def activate(x: Tensor, name: Activation) -> Tensor:
    """Overwrite x [K, ...]; return its activation, bit for bit the same for a seed alone."""
    if name == "relu":
        return torch.relu_(x)
    return without_tail(ACTIVATIONS[name], x)


def without_tail(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return an elementwise function of x [K, ...], bit for bit the same for a seed alone."""
    if isinstance(x, fx.Proxy) or torch.compiler.is_exporting():  # for batches of any size
        return function(x)
    if not (gap := -math.prod(x.shape[1:]) % WIDEST):
        return function(x)
    return function(nn.functional.pad(x.flatten(1), (0, gap)))[:, :-gap].view(x.shape)


class Linear(nn.Module):
    """K affine maps: [K, B, in_features] to [K, B, out_features].

    Each seed's weights [in, out] and biases are drawn from its generator, uniformly within `initial_bounds`:
    with `torch` as torch.nn.Linear draws them, whose weight [out, in] is the transpose.

    Args:
        initializer: chooses the bounds.
        in_features: size of the input.
        out_features: size of the output.
        generators: one for the initial parameters of each seed.
    """

    def __init__(
        self, *, initializer: Initializer, in_features: int, out_features: int, generators: Generators
    ) -> None:
        super().__init__()
        bound, bias_bound = initial_bounds(initializer, in_features, out_features)
        weight = torch.empty(len(generators), in_features, out_features)
        bias = torch.empty(len(generators), 1, out_features)
        for k, generator in enumerate(generators):
            weight[k] = torch.empty(out_features, in_features).uniform_(-bound, bound, generator=generator).T
            bias[k].uniform_(-bias_bound, bias_bound, generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.in_features, self.out_features = in_features, out_features
        self.gap = -out_features % ALIGNED
        """Columns of zeros that align the products with the weights for any number of rows."""

    def forward(self, x: Tensor, rng: Rng | None) -> Tensor:
        return self.affine(x, self.weight, self.bias, rng)

    def affine(self, x: Tensor, weight: Tensor, bias: Tensor, rng: Rng | None) -> Tensor:
        """Return x @ weight + bias, bit for bit the same for a seed regardless of the other seeds.

        With a single row or column of weights, the kernels for one seed would differ from those for several.
        A proxy stands for arrays of NumPy, whose product does not depend on the alignment of its memory.
        """
        if self.out_features == 1:
            return (x * weight.transpose(1, 2)).sum(-1).unsqueeze(-1) + bias
        if self.in_features == 1:
            return x * weight + bias
        learns = rng is not None and rng.role != "acting"
        if not self.gap or isinstance(x, fx.Proxy) or (learns and self.is_aligned(x.shape[1])):
            return torch.bmm(x, weight).add_(bias)  # baddbmm would first copy the bias for every sample
        padded = nn.functional.pad(weight, (0, self.gap))
        return torch.bmm(x, padded)[..., : self.out_features] + bias

    def is_aligned(self, rows: int) -> bool:
        """Return whether each seed's part of a product [K, rows, out] and of the weights begins aligned."""
        return rows * self.out_features % ALIGNED == 0 and self.in_features * self.out_features % ALIGNED == 0


def initial_bounds(initializer: Initializer, inputs: int, outputs: int) -> tuple[float, float]:
    """Return the largest initial weight and the largest initial bias of a layer.

    With `torch` both are 1 / sqrt(inputs), as in torch.nn. Otherwise biases are 0, and weights are bounded
    with `xavier` by sqrt(6 / (inputs + outputs)), as in Glorot and Bengio (2010), eq. 16, and with
    `variance_scaling` by sqrt(3 * scale / inputs), which gives a variance of scale / inputs, with Dopamine's
    scale = 1 / sqrt(3).

    Args:
        initializer: chooses the bounds.
        inputs: number of inputs of an output.
        outputs: number of outputs of an input.
    """
    if initializer == "xavier":
        return math.sqrt(6 / (inputs + outputs)), 0.0
    bound = 1 / math.sqrt(inputs)
    return (bound, bound) if initializer == "torch" else (bound * math.sqrt(math.sqrt(3)), 0.0)


class Noisy(Linear):
    """K affine maps with factorised Gaussian noise. Fortunato et al. (2018), eq. 9 to 11.

    Each forward pass draws one noise for the whole batch; without rng there is none.

    Args:
        sigma: initial scale of the noise times sqrt(in_features); 0.5 in the paper.
        initializer: as in Linear, for the initial means; torch in the paper.
        in_features: size of the input.
        out_features: size of the output.
        generators: one for the initial means of each seed.
    """

    def __init__(
        self,
        *,
        sigma: Positive,
        initializer: Initializer,
        in_features: int,
        out_features: int,
        generators: Generators,
    ) -> None:
        super().__init__(
            initializer=initializer, in_features=in_features, out_features=out_features, generators=generators
        )
        scale = sigma / math.sqrt(in_features)
        self.weight_sigma = nn.Parameter(torch.full_like(self.weight, scale))
        self.bias_sigma = nn.Parameter(torch.full_like(self.bias, scale))

    def forward(self, x: Tensor, rng: Rng | None) -> Tensor:
        if rng is None:
            return self.affine(x, self.weight, self.bias, rng)
        of_input = factor(rng.normal(self.in_features)).unsqueeze(2)  # [K, in, 1]
        of_output = factor(rng.normal(self.out_features)).unsqueeze(1)  # [K, 1, out]
        if rng.role == "acting":  # for few observations a second product costs less than new weights
            scaled = self.affine(x * of_input.transpose(1, 2), self.weight_sigma, self.bias_sigma, rng)
            return self.affine(x, self.weight, self.bias, rng) + scaled * of_output
        weight = self.weight + self.weight_sigma * (of_input * of_output)
        return self.affine(x, weight, self.bias + self.bias_sigma * of_output, rng)


def factor(noise: Tensor) -> Tensor:
    """Return sign(x) * sqrt(|x|), the paper's f, of normal numbers."""
    return torch.sign(noise) * torch.sqrt(torch.abs(noise))


class LayerNorm(nn.Module):
    """Normalizes the features of each sample: [K, B, features] to the same shape. Ba et al. (2016)."""

    def __init__(self, *, features: int, num_seeds: int) -> None:
        super().__init__()
        self.features = features
        self.scale = nn.Parameter(torch.ones(num_seeds, 1, features))
        self.shift = nn.Parameter(torch.zeros(num_seeds, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, (self.features,)) * self.scale + self.shift
