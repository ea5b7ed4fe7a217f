"""The forward pass in NumPy: for one observation torch's dispatcher costs several times the arithmetic."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from dqn.network import QNetwork
from dqn.types import Array, Floats


def one_hot(x: Array, count: int) -> Floats:
    """Return [*, count] for integers x [*]."""
    hot = np.zeros((*x.shape, count), np.float32)
    np.put_along_axis(hot, x[..., None], 1, axis=-1)
    return hot


OPERATIONS: dict[Any, Callable[..., Any]] = {
    torch.baddbmm: lambda bias, x, weight: np.matmul(x, weight) + bias,
    torch.relu: lambda x: np.maximum(x, 0),
    torch.nn.functional.one_hot: one_hot,
    operator.mul: operator.mul,
    "flatten": lambda x, start: x.reshape(*x.shape[:start], -1),
    "float": lambda x: x.astype(np.float32, copy=False),
    "long": lambda x: x.astype(np.int64),
}
"""What the traced operations of a network are in NumPy."""


class ActionValues(nn.Module):
    """Observations to expected returns, for tracing."""

    def __init__(self, network: QNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor) -> Tensor:
        return self.network.forward(obs).mean()


def numpy_forward(network: QNetwork) -> Callable[[Array], Floats] | None:
    """Return the action values of observations by NumPy, on the network's own memory.

    The network is traced once; its parameters, which are updated in place, are read where they lie.

    Returns:
        None where the network is not on the CPU, uses an operation that is not among OPERATIONS or cannot be
        traced, or where NumPy does not give what torch gives.
    """
    values = ActionValues(network)
    if any(leaf.device.type != "cpu" for leaf in values.parameters()):
        return None
    leaf = next(values.parameters())
    obs = np.zeros((leaf.shape[0], 2, *network.obs.shape), network.obs.dtype)
    try:
        forward = compiled(values)
        if forward is None or not np.allclose(
            forward(obs), values(torch.from_numpy(obs)).detach(), atol=1e-5
        ):
            return None
    except Exception:  # a network of the user's own may do anything that tracing or NumPy cannot follow
        return None
    return forward


def compiled(values: ActionValues) -> Callable[[Array], Floats] | None:
    """Return the traced forward pass in NumPy, None where an operation is not among OPERATIONS."""
    graph = fx.Tracer().trace(values)
    place: dict[fx.Node, int] = {}
    slots: list[Any] = []
    steps: list[tuple[Callable[..., Any], int, list[int]]] = []

    def slot(value: Any) -> int:
        """Return where a value lies: a node's result, or a constant."""
        if isinstance(value, fx.Node) and value in place:
            return place[value]
        slots.append(value)
        if isinstance(value, fx.Node):
            place[value] = len(slots) - 1
        return len(slots) - 1

    for node in graph.nodes:
        if node.op == "get_attr":
            slots[slot(node)] = operator.attrgetter(node.target)(values).detach().numpy()
        elif node.op in ("call_function", "call_method"):
            if node.target not in OPERATIONS or node.kwargs:
                return None
            inputs = [slot(argument) for argument in node.args]
            steps.append((OPERATIONS[node.target], slot(node), inputs))
        elif node.op == "output":
            result = slot(node.args[0])
        elif node.op == "placeholder":
            slot(node)  # the observation, the first node
        else:
            return None

    def forward(obs: Array) -> Floats:
        known = slots.copy()
        known[0] = obs
        for operation, out, inputs in steps:
            known[out] = operation(*[known[i] for i in inputs])
        values: Floats = known[result]
        return values

    return forward
