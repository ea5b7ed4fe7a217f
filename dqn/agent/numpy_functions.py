"""Torch's functions in NumPy, as the translated forward pass calls them."""

import itertools
import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch

from dqn.network import conv, impala
from dqn.network.conv import Padding, same_padding
from dqn.types import Array, Floats


def flatten(x: Array, start: int, end: int = -1) -> Array:
    """Return x with the axes from `start` to `end` joined."""
    end %= x.ndim
    return x.reshape((*x.shape[:start], -1, *x.shape[end + 1 :]))


def unflatten(x: Array, axis: int, sizes: tuple[int, ...]) -> Array:
    """Return x with an axis split into several."""
    axis %= x.ndim
    return x.reshape((*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def log_softmax(x: Any, axis: int) -> Any:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def layer_norm(x: Any, shape: tuple[int], weight: Any, bias: Any, eps: float) -> Any:
    """Return x with mean 0 and variance 1 over its last axis; `weight` and `bias` should be None."""
    if weight is not None or bias is not None:
        raise NotImplementedError
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt(np.square(centered).mean(-1, keepdims=True) + np.float32(eps))


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def relu_(x: Any) -> Any:
    return np.maximum(x, 0, out=x)


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), without the overflow of exp."""
    half: Floats = np.tanh(x * np.float32(0.5))
    return half * np.float32(0.5) + np.float32(0.5)


def split(x: Array, sizes: list[int], dim: int) -> list[Array]:
    """Return x cut into parts of these sizes."""
    return np.split(x, list(itertools.accumulate(sizes[:-1])), dim)


def addcmul(x: Floats, a: Floats, b: Floats) -> Floats:
    return x + a * b


def lerp(start: Floats, end: Floats, weight: Floats) -> Floats:
    return start + weight * (end - start)


def mean(x: Any, axis: int, keep: bool = False) -> Any:
    return x.mean(axis, keepdims=keep)


def to_float(x: Array) -> Floats:
    return x.astype(np.float32, copy=False)


def permute(x: Array, *axes: int) -> Array:
    return x.transpose(axes)


def convolve(x: Floats, weight: Floats, bias: Floats, stride: int, padding: Padding) -> Floats:
    """Return `dqn.network.conv.convolve` of images: one product of matrices for each of them."""
    kernel = weight.shape[-1]
    if padding == "same":
        x = padded(x, kernel, stride, 0)
    patches = windows(x, kernel, stride)  # [K, B, in, kernel, kernel, H', W']
    outer, area, size = patches.shape[:2], math.prod(patches.shape[2:5]), patches.shape[5:]
    columns = patches.reshape(*outer, area, -1)
    products: Floats = np.matmul(weight.reshape(len(weight), 1, -1, area), columns)
    products += bias[:, np.newaxis, :, np.newaxis]
    return products.reshape(*outer, -1, *size)


def max_pool(x: Floats, size: int, stride: int) -> Floats:
    """Return `dqn.network.impala.max_pool` of images."""
    patches = windows(padded(x, size, stride, -np.inf), size, stride)
    pixels = itertools.product(range(size), repeat=2)
    largest: Floats = reduce(np.maximum, [patches[..., i, j, :, :] for i, j in pixels])
    return largest


def padded(x: Floats, kernel: int, stride: int, value: float) -> Floats:
    """Return images with `value` around them, as many pixels as `same_padding` says."""
    ends = [same_padding(size, kernel, stride) for size in x.shape[-2:]]
    (top, bottom), (left, right) = ends
    height, width = x.shape[-2:]
    larger = np.full((*x.shape[:-2], top + height + bottom, left + width + right), value, np.float32)
    larger[..., top : top + height, left : left + width] = x
    return larger


def windows(x: Floats, kernel: int, stride: int) -> Floats:
    """Return a view [..., kernel, kernel, H', W'] of the pixels that each output of a kernel reads."""
    *outer, height, width = x.shape
    *strides, down, right = x.strides
    size = [(one - kernel) // stride + 1 for one in (height, width)]
    return np.lib.stride_tricks.as_strided(
        x, (*outer, kernel, kernel, *size), (*strides, down, right, stride * down, stride * right)
    )


ARITHMETIC = (operator.mul, operator.truediv, operator.add, operator.sub)

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    torch.bmm: np.matmul,
    torch.relu: relu,
    torch.relu_: relu_,
    torch.log_softmax: log_softmax,
    torch.cos: np.cos,
    torch.sigmoid: sigmoid,
    torch.tanh: np.tanh,
    torch.split: split,
    torch.chunk: np.split,
    torch.addcmul: addcmul,
    torch.lerp: lerp,
    torch.sign: np.sign,
    torch.sqrt: np.sqrt,
    torch.abs: np.abs,
    torch.nn.functional.layer_norm: layer_norm,
    torch.unflatten: unflatten,
    torch.cat: np.concatenate,
    conv.convolve: convolve,
    impala.max_pool: max_pool,
    **{same: same for same in (*ARITHMETIC, operator.eq, operator.getitem, getattr)},
    "mul": operator.mul,
    "add": operator.add,
    "add_": operator.iadd,
    "mul_": operator.imul,
    "flatten": flatten,
    "unsqueeze": np.expand_dims,
    "transpose": np.swapaxes,
    "permute": permute,
    "contiguous": np.ascontiguousarray,
    "mean": mean,
    "exp": np.exp,
    "float": to_float,
    "long": np.int64,
}
"""Torch's functions and methods to NumPy's. The generated code refers to them by name, so no lambdas."""

METHODS = {"squeeze", "sum", "normal", "uniform"}
"""Methods that NumPy's arrays and NumpyRng have under the same name, with the same arguments."""
