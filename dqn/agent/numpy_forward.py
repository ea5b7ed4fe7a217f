"""The forward pass in NumPy: for one observation torch's dispatcher costs several times the arithmetic."""

import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, fx, nn

from dqn.agent.rng import NumpyRng, TorchRng
from dqn.network import QNetwork
from dqn.types import Array, Floats, Role


class ForwardPass(Protocol):
    """Action values of observations, in NumPy arrays."""

    def __call__(self, obs: Array, rng: NumpyRng | None = None) -> Floats:
        """Return action values [K, E, A] of observations [K, E, ...]; without rng nothing varies."""
        ...


class TorchForward:
    """A network's forward pass as it is, on its device."""

    def __init__(self, network: QNetwork, device: torch.device) -> None:
        self._network, self._device = network, device

    @torch.inference_mode()
    def __call__(self, obs: Array, rng: NumpyRng | None = None) -> Floats:
        numbers = None if rng is None else TorchRng(rng, self._device)
        values: Floats = self._network(torch.from_numpy(obs).to(self._device), numbers).mean().cpu().numpy()
        return values


class NumpyForward:
    """The action values of observations, on the network's own memory: parameters are read where they lie.

    Args:
        steady: the values as a function of observations.
        varying: the values as a function of observations and NumpyRng; None if nothing varies.
    """

    def __init__(self, steady: Callable[..., Floats], varying: Callable[..., Floats] | None) -> None:
        self._steady, self._varying = steady, varying

    def __call__(self, obs: Array, rng: NumpyRng | None = None) -> Floats:
        if rng is None or self._varying is None:
            return self._steady(obs)
        return self._varying(obs, rng)


def one_hot(x: Array, count: int) -> Floats:
    """Return [*, count] for integers x [*]."""
    hot = np.zeros((*x.shape, count), np.float32)
    np.put_along_axis(hot, x[..., None], 1, axis=-1)
    return hot


def flatten(x: Array, start: int, end: int = -1) -> Array:
    """Return x with its axes from `start` to `end` as one."""
    end %= x.ndim
    return x.reshape((*x.shape[:start], -1, *x.shape[end + 1 :]))


def unflatten(x: Array, axis: int, sizes: tuple[int, ...]) -> Array:
    """Return x with one axis as several."""
    axis %= x.ndim
    return x.reshape((*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def log_softmax(x: Any, axis: int) -> Any:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def layer_norm(x: Any, shape: tuple[int], weight: None, bias: None, eps: float) -> Any:
    """Return x with mean 0 and variance 1 over its last axis."""
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt(np.square(centered).mean(-1, keepdims=True) + np.float32(eps))


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def relu_(x: Any) -> Any:
    return np.maximum(x, 0, out=x)


def mean(x: Any, axis: int, keep: bool = False) -> Any:
    return x.mean(axis, keepdims=keep)


def to_float(x: Array) -> Floats:
    return x.astype(np.float32, copy=False)


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    torch.bmm: np.matmul,
    torch.relu: relu,
    torch.relu_: relu_,
    torch.log_softmax: log_softmax,
    torch.cos: np.cos,
    torch.sign: np.sign,
    torch.sqrt: np.sqrt,
    torch.abs: np.abs,
    torch.nn.functional.one_hot: one_hot,
    torch.nn.functional.layer_norm: layer_norm,
    torch.unflatten: unflatten,
    **{same: same for same in (operator.mul, operator.add, operator.sub, operator.getitem, getattr)},
    "mul": operator.mul,
    "add": operator.add,
    "add_": operator.iadd,
    "flatten": flatten,
    "unsqueeze": np.expand_dims,
    "transpose": np.swapaxes,
    "mean": mean,
    "exp": np.exp,
    "float": to_float,
    "long": np.int64,
}
"""Functions and methods of torch, in NumPy: functions with names, as the generated code needs."""

METHODS = {"squeeze", "sum", "normal", "uniform"}
"""Methods that NumPy's arrays and NumpyRng have under the same name, with the same arguments."""


class ActionValues(nn.Module):
    """Observations to expected returns, for tracing."""

    def __init__(self, network: QNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor) -> Tensor:
        return self.network.forward(obs).mean()

    def varying(self, obs: Tensor, rng: Any) -> Tensor:
        """Return the values by random numbers: drawing them is a part of the trace, the role is not."""
        return self.network.forward(obs, TracedRng(rng)).mean()


class TracedRng:
    """An rng for acting, from whatever stands for it in a trace."""

    role: Role = "acting"

    def __init__(self, rng: Any) -> None:
        self.normal, self.uniform = rng.normal, rng.uniform


TRACING = threading.Lock()
"""Held while tracing: torch.fx patches modules of the whole process and puts them back in order."""


class Tracer(fx.Tracer):
    """Traces a method of a module, also what depends on its parameters and constants alone.

    While it traces, torch.fx makes every module of the process call it, which must not reach other threads.
    """

    proxy_buffer_attributes = True

    def __init__(self, method: str) -> None:
        super().__init__()
        self.traced_func_name = method
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


def numpy_forward(network: QNetwork, *, is_random: bool) -> NumpyForward | None:
    """Return the action values of observations by NumPy.

    Args:
        network: the Q-network, which is traced once.
        is_random: whether it uses random numbers where it gets some.

    Returns:
        None where the network is not on the CPU, cannot be traced or uses an operation that is neither in
        FUNCTIONS nor in METHODS, or where NumPy does not give what torch gives.
    """
    if any(leaf.device.type != "cpu" for leaf in network.parameters()):
        return None
    try:
        values = ActionValues(network)
        varying = translated(values, "varying") if is_random else None
        forward = NumpyForward(translated(values, "forward"), varying)
        return forward if agrees(forward, network, is_random=is_random) else None
    except Exception:  # a network of the user's own may do anything that tracing or NumPy cannot follow
        return None


@torch.no_grad()
def agrees(forward: NumpyForward, network: QNetwork, *, is_random: bool) -> bool:
    """Return whether NumPy gives what torch gives."""
    num_seeds = next(network.parameters()).shape[0]
    obs = np.zeros((num_seeds, 2, *network.obs.shape), network.obs.dtype)
    for given in (False, True)[: 1 + is_random]:
        ours, theirs = (NumpyRng(seeds=range(num_seeds), name="trial", role="acting") for _ in range(2))
        numbers = TorchRng(theirs, torch.device("cpu")) if given else None
        expected = network(torch.from_numpy(obs), numbers).mean()
        if not np.allclose(forward(obs, ours if given else None), expected, atol=1e-5):
            return False
    return True


def translated(values: nn.Module, method: str) -> Callable[..., Floats]:
    """Return a method of a module in NumPy.

    Raises:
        KeyError: an operation is neither in FUNCTIONS nor in METHODS.
    """
    with TRACING, traceable(values):
        graph = Tracer(method).trace(values)
    constants = nn.Module()
    for i, node in enumerate(graph.nodes):
        if node.op == "get_attr":
            array = operator.attrgetter(node.target)(values).detach().numpy()
            node.target = f"constant_{i}"
            setattr(constants, node.target, array)
        elif node.op == "call_function" or (node.op == "call_method" and node.target not in METHODS):
            node.op, node.target = "call_function", FUNCTIONS[node.target]
        elif node.op not in ("placeholder", "output", "call_method"):
            raise KeyError(node.op)
    return fx.GraphModule(constants, graph).forward
