"""The forward pass in NumPy: for one observation torch's dispatcher costs several times the arithmetic."""

import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from dqn.agent.rng import NumpyDraws, TorchDraws
from dqn.network import QNetwork
from dqn.types import Array, Floats, Purpose

Forward = Callable[..., Floats]


def one_hot(x: Array, count: int) -> Floats:
    """Return [*, count] for integers x [*]."""
    hot = np.zeros((*x.shape, count), np.float32)
    np.put_along_axis(hot, x[..., None], 1, axis=-1)
    return hot


def flatten(x: Array, start: int, end: int = -1) -> Array:
    """Return x with its axes from `start` to `end` as one."""
    end %= x.ndim
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])


def unflatten(x: Array, axis: int, sizes: tuple[int, ...]) -> Array:
    """Return x with one axis as several."""
    axis %= x.ndim
    return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])


def log_softmax(x: Floats, axis: int) -> Floats:
    shifted = x - x.max(axis, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    return result


def layer_norm(x: Floats, shape: tuple[int], weight: None, bias: None, eps: float) -> Floats:
    """Return x with mean 0 and variance 1 over its last axis."""
    centered = x - x.mean(-1, keepdims=True)
    result: Floats = centered / np.sqrt(np.square(centered).mean(-1, keepdims=True) + np.float32(eps))
    return result


def relu(x: Floats) -> Floats:
    return np.maximum(x, 0)


def relu_(x: Floats) -> Floats:
    return np.maximum(x, 0, out=x)


def mean(x: Floats, axis: int, keep: bool = False) -> Floats:
    result: Floats = x.mean(axis, keepdims=keep)
    return result


def total(x: Floats, axis: int) -> Floats:
    result: Floats = x.sum(axis)
    return result


def to_float(x: Array) -> Floats:
    return x.astype(np.float32, copy=False)


def to_long(x: Array) -> Array:
    return x.astype(np.int64)


def cos(x: Floats) -> Floats:
    result: Floats = np.cos(x)
    return result


def sign(x: Floats) -> Floats:
    result: Floats = np.sign(x)
    return result


def sqrt(x: Floats) -> Floats:
    result: Floats = np.sqrt(x)
    return result


def absolute(x: Floats) -> Floats:
    result: Floats = np.abs(x)
    return result


def exp(x: Floats) -> Floats:
    result: Floats = np.exp(x)
    return result


def normal(draws: NumpyDraws, size: int) -> Floats:
    return draws.normal(size)


def uniform(draws: NumpyDraws, *shape: int) -> Floats:
    return draws.uniform(*shape)


OPERATIONS: dict[Any, Callable[..., Any]] = {
    torch.bmm: np.matmul,
    torch.relu: relu,
    torch.relu_: relu_,
    torch.log_softmax: log_softmax,
    torch.cos: cos,
    torch.sign: sign,
    torch.sqrt: sqrt,
    torch.abs: absolute,
    torch.nn.functional.one_hot: one_hot,
    torch.nn.functional.layer_norm: layer_norm,
    operator.mul: operator.mul,
    operator.add: operator.add,
    operator.sub: operator.sub,
    "mul": operator.mul,
    "add": operator.add,
    "add_": operator.iadd,
    operator.getitem: operator.getitem,
    getattr: getattr,
    "flatten": flatten,
    torch.unflatten: unflatten,
    "unsqueeze": np.expand_dims,
    "squeeze": np.squeeze,
    "transpose": np.swapaxes,
    "mean": mean,
    "sum": total,
    "exp": exp,
    "float": to_float,
    "long": to_long,
    "normal": normal,
    "uniform": uniform,
}
"""What the traced operations of a network are in NumPy: functions with names, as the generated code needs."""


class ActionValues(nn.Module):
    """Observations to expected returns, for tracing."""

    def __init__(self, network: QNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor) -> Tensor:
        return self.network.forward(obs).mean()


class VaryingActionValues(nn.Module):
    """The same by random draws, for tracing: what is drawn is a part of the trace, the purpose is not."""

    def __init__(self, network: QNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor, draws: Any) -> Tensor:
        return self.network.forward(obs, TracedDraws(draws)).mean()


class TracedDraws:
    """Draws for acting, from whatever stands for them in a trace."""

    purpose: Purpose = "acting"

    def __init__(self, draws: Any) -> None:
        self.normal, self.uniform = draws.normal, draws.uniform


TRACING = threading.Lock()
"""Held while tracing: torch.fx patches modules of the whole process and puts them back in order."""


class Tracer(fx.Tracer):
    """Also traces what depends on constants alone, and leaves the calls of other threads alone.

    While it traces, torch.fx has every module of the process call it.
    """

    proxy_buffer_attributes = True

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


@contextmanager
def traceable(network: nn.Module) -> Iterator[None]:
    """Let a trace follow the parameters; `flatten` makes them plain attributes, which are constants to it."""
    hidden: list[tuple[nn.Module, dict[str, Any]]] = []
    for module in network.modules():
        names = vars(module).keys() & (module._parameters.keys() | module._buffers.keys())
        hidden.append((module, {name: vars(module).pop(name) for name in names}))
    try:
        yield
    finally:
        for module, tensors in hidden:
            vars(module).update(tensors)


def numpy_forward(network: QNetwork, *, is_random: bool) -> Forward | None:
    """Return the action values of observations by NumPy, on the network's own memory.

    The network is traced once; its parameters, which are updated in place, are read where they lie.

    Args:
        network: the Q-network.
        is_random: the values are functions of observations and NumpyDraws; these may be None.

    Returns:
        None where the network is not on the CPU, uses an operation that is not among OPERATIONS or cannot be
        traced, or where NumPy does not give what torch gives.
    """
    if any(leaf.device.type != "cpu" for leaf in network.parameters()):
        return None
    try:
        steady = compiled(ActionValues(network))
        varying = compiled(VaryingActionValues(network)) if is_random else None
        if not agrees(network, steady, varying):
            return None
    except Exception:  # a network of the user's own may do anything that tracing or NumPy cannot follow
        return None

    def forward(obs: Array, draws: NumpyDraws | None = None) -> Floats:
        return steady(obs) if draws is None or varying is None else varying(obs, draws)

    return forward


@torch.no_grad()
def agrees(network: QNetwork, steady: Forward, varying: Forward | None) -> bool:
    """Return whether NumPy gives what torch gives."""
    num_seeds = next(network.parameters()).shape[0]
    obs = np.zeros((num_seeds, 2, *network.obs.shape), network.obs.dtype)
    if not np.allclose(steady(obs), network(torch.from_numpy(obs)).mean(), atol=1e-5):
        return False
    if varying is None:
        return True
    ours, theirs = (NumpyDraws(seeds=range(num_seeds), name="trial", purpose="acting") for _ in range(2))
    numbers = TorchDraws(theirs, torch.device("cpu"))
    return np.allclose(varying(obs, ours), network(torch.from_numpy(obs), numbers).mean(), atol=1e-5)


def compiled(values: nn.Module) -> Forward:
    """Return the traced forward pass in NumPy.

    Raises:
        KeyError: an operation is not among OPERATIONS.
    """
    with TRACING, traceable(values):
        graph = Tracer().trace(values)
    constants = nn.Module()
    for i, node in enumerate(graph.nodes):
        if node.op == "get_attr":
            array = operator.attrgetter(node.target)(values).detach().numpy()
            node.target = f"constant_{i}"
            setattr(constants, node.target, array)
        elif node.op in ("call_function", "call_method"):
            node.op, node.target = "call_function", OPERATIONS[node.target]
        elif node.op not in ("placeholder", "output"):
            raise KeyError(node.op)
    return fx.GraphModule(constants, graph).forward
