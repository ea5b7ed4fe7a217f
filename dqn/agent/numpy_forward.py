"""The forward pass in NumPy: for few observations torch's dispatcher costs several times the arithmetic."""

import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from dqn.agent.numpy_functions import FUNCTIONS, METHODS
from dqn.agent.recall import ForwardPass
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.devices import to_device
from dqn.network import QNetwork
from dqn.process import float32_by_default
from dqn.types import Array

MOST_NUMBERS = 200_000
"""Numbers in the observations of one seed up to which acting is faster in NumPy than in torch.

Measured for convolutions: eight stacks of four frames of 84 x 84 pixels have 225,792. Only the numbers of one
seed count, so that a seed's values do not depend on the seeds beside it.
"""


class TorchForward:
    """The forward pass of a network in torch, on its device."""

    def __init__(self, network: QNetwork, device: torch.device) -> None:
        self._module, self._device = module_of(network), device

    @torch.inference_mode()
    def __call__(self, obs: Array, rng: NumpyRng | None = None, memory: Sequence[Array] = ()) -> Any:
        with float32_by_default():
            given = [to_device(torch.from_numpy(array), self._device) for array in (obs, *memory)]
            if rng is None:
                outputs = self._module.forward(*given)
            else:
                outputs = self._module.random(*given, TorchRng(rng, self._device))
        if isinstance(outputs, Tensor):
            return outputs.cpu().numpy()
        return tuple(output.cpu().numpy() for output in outputs)


class NumpyForward:
    """The forward pass of a network on the CPU in NumPy, on the memory of the network's parameters.

    Args:
        network: the Q-network, which is traced.
        is_random: whether it uses the rng that it is given.

    Raises:
        Exception: the network cannot be traced, or NumPy lacks one of its operations.
    """

    def __init__(self, network: QNetwork, *, is_random: bool) -> None:
        module = module_of(network)
        self._steady = translated(module, "forward")
        self._random = translated(module, "random") if is_random else None

    def __call__(self, obs: Array, rng: NumpyRng | None = None, memory: Sequence[Array] = ()) -> Any:
        if rng is None or self._random is None:
            return self._steady(obs, *memory)
        return self._random(obs, *memory, rng)


def module_of(network: QNetwork) -> Any:
    """Return the module that computes what acting needs of a network."""
    return Steps(network) if network.carry_size else ActionValues(network)


class Steps(nn.Module):
    """One step of a recurrent network: its action values [K, B, A] and the carry after it [K, B, C]."""

    def __init__(self, network: QNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor, carry: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        returns, carry = self.network.step(obs, carry, previous)
        return returns.mean(), carry

    def random(self, obs: Tensor, carry: Tensor, previous: Tensor, rng: Any) -> tuple[Tensor, Tensor]:
        """Return the same for acting; `rng` may be a proxy."""
        returns, carry = self.network.step(obs, carry, previous, acting(rng))
        return returns.mean(), carry


def acting(rng: Any) -> Any:
    """Return an rng for acting that draws from another, which may be a proxy without a role."""
    return SimpleNamespace(role="acting", normal=rng.normal, uniform=rng.uniform)


class ActionValues(nn.Module):
    """Observations [K, B, ...] to expected returns [K, B, A]."""

    def __init__(self, network: QNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor) -> Tensor:
        return self.network.forward(obs).mean()

    def random(self, obs: Tensor, rng: Any) -> Tensor:
        """Return the values for acting; `rng` may be a proxy."""
        return self.network.forward(obs, acting(rng)).mean()


TRACING = threading.Lock()
"""Held while tracing: torch.fx patches torch.nn.Module for the whole process and restores it in order."""


class Tracer(fx.Tracer):
    """Traces a method of a module and of its parts, including operations on parameters alone."""

    proxy_buffer_attributes = True

    def __init__(self, method: str) -> None:
        super().__init__()
        self.traced_func_name = method

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run `forward`: while tracing, torch.fx sends every module here, also those of other threads."""
        return forward(*args, **kwargs)


@contextmanager
def traceable(network: nn.Module) -> Iterator[None]:
    """Hide the plain attributes that `flatten` makes of parameters; a trace would copy their values."""
    hidden: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for module in network.modules():
        attributes, tensors = vars(module), module._parameters.keys() | module._buffers.keys()
        hidden.append((attributes, {name: attributes.pop(name) for name in attributes.keys() & tensors}))
    try:
        yield
    finally:
        for attributes, plain in hidden:
            attributes.update(plain)


def forward_pass(network: QNetwork, device: torch.device, *, is_random: bool) -> ForwardPass:
    """Return the forward pass of a network on `device`, in NumPy where that is possible and faster.

    Args:
        network: the Q-network.
        device: where its parameters are.
        is_random: whether it uses the rng that it is given.
    """
    in_torch = TorchForward(network, device)
    in_numpy = numpy_forward(network, is_random=is_random)
    if in_numpy is None:
        return in_torch

    def forward(obs: Array, rng: NumpyRng | None = None, memory: Sequence[Array] = ()) -> Any:
        return (in_numpy if obs[0].size <= MOST_NUMBERS else in_torch)(obs, rng, memory)

    return forward


def numpy_forward(network: QNetwork, *, is_random: bool) -> NumpyForward | None:
    """Return the forward pass of a network in NumPy; None if there is none or it differs from torch's.

    Args:
        network: the Q-network. It must be on the CPU and use only the operations in FUNCTIONS and METHODS.
        is_random: whether it uses the rng that it is given.
    """
    if any(leaf.device.type != "cpu" for leaf in network.parameters()):
        return None
    try:
        forward = NumpyForward(network, is_random=is_random)
        return forward if agrees(forward, network, is_random=is_random) else None
    except Exception:  # a custom network may do anything that tracing or NumPy cannot follow
        return None


def agrees(forward: NumpyForward, network: QNetwork, *, is_random: bool) -> bool:
    """Return whether NumPy and torch give the same values of two zero observations, up to rounding."""
    num_seeds = next(network.parameters()).shape[0]
    obs = np.zeros((num_seeds, 2, *network.obs.stacked_shape), network.obs.dtype)
    sizes = network.memory_sizes if network.carry_size else ()
    memory = [np.full((num_seeds, 2, size), 0.5, np.float32) for size in sizes]
    reference = TorchForward(network, torch.device("cpu"))
    rngs = [NumpyRng(seeds=range(num_seeds), name="trial", role="acting") for _ in range(2)]
    pairs = [(forward(obs, None, memory), reference(obs, None, memory))]
    if is_random:
        pairs.append((forward(obs, rngs[0], memory), reference(obs, rngs[1], memory)))
    each = (arrays for pair in pairs for arrays in (zip(*pair, strict=True) if memory else [pair]))
    return all(np.allclose(ours, theirs, atol=1e-5) for ours, theirs in each)


def translated(module: nn.Module, method: str) -> Callable[..., Any]:
    """Return a method of a module, translated to NumPy.

    Raises:
        KeyError: an operation is neither in FUNCTIONS nor in METHODS.
    """
    with TRACING, traceable(module):
        graph = Tracer(method).trace(module)
    constants = nn.Module()
    for i, node in enumerate(graph.nodes):
        if node.op == "get_attr":
            array = operator.attrgetter(node.target)(module).detach().numpy()
            node.target = f"constant_{i}"
            setattr(constants, node.target, array)
        elif node.op == "call_function" or (node.op == "call_method" and node.target not in METHODS):
            node.op, node.target = "call_function", FUNCTIONS[node.target]
        elif node.op not in ("placeholder", "output", "call_method"):
            raise KeyError(node.op)
    return fx.GraphModule(constants, graph).forward
