"""The gradient of an update as one compiled graph."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from dqn.agent.compile_cache import Graph, compiled_graph, obstacle
from dqn.agent.rng import TorchRng
from dqn.errors import UserError, first_line, root_cause
from dqn.types import Batch, ObsSpec, Rng, Role


class LearningRng(Protocol):
    """Random numbers for each role in an update."""

    def __call__(self, role: Role) -> Rng:
        """Return an rng that has `role` until the next call."""
        ...


Gradient = Callable[[Batch, Tensor, LearningRng], tuple[Tensor, Tensor]]
"""Sets the gradients of a batch's losses by their weights [K, B]; returns what an update reports."""

GradientStep = Callable[[Batch, Tensor], tuple[Tensor, Tensor]]
"""A `Gradient` that has its rng: the first half of an update."""

COMPILING_SECONDS = 12.0
"""CPU seconds to compile the graph of plain DQN. Rainbow's takes 16; the first on a machine takes 6 more.

Later processes load the graph at once, unless a part of the network or the backup is custom.
"""
SAVED_SECONDS = 0.6e-3, 0.06e-3
"""CPU seconds that each compiled update saves: in all, and for each seed.

Measured for small perceptrons, in whole runs by `scripts/benchmark.py`. MinAtar's convolutions save a little
more: about 0.7 ms for one seed, 2 ms for eight.
"""
RECURRENT_UPDATES = 8_000
"""Updates of a recurrent network from which compiling repays, for windows of any length.

Measured for a GRU of 64 units and one seed: compiling took 69 CPU seconds for windows of 20 steps, 112 for
40; an update then saved 9 and 18 ms.
"""
LARGEST = 4096
"""Numbers of an observation up to which compiling repays on a CPU, those of four frames of 32 x 32 pixels.

Kernels of larger convolutions take nearly all of an update's time, and compiling leaves them as they are.
"""


class CannotCompile(UserError):
    """The update cannot be compiled on this machine, or has operations that torch cannot trace."""

    def __init__(self, problem: str) -> None:
        cannot = f"agent.compile: the update cannot be compiled: {problem}"
        super().__init__(f"{cannot}; agent.compile=false does without")
        self.problem = problem


def repays(updates: int, num_seeds: int, obs: ObsSpec, device: torch.device, *, is_recurrent: bool) -> bool:
    """Return whether that many updates on observations save more time than compiling costs."""
    if device.type == "cpu" and math.prod(obs.stacked_shape) > LARGEST:
        return False
    if is_recurrent:
        return updates > RECURRENT_UPDATES
    whole, each = SAVED_SECONDS
    return updates * (whole + each * num_seeds) > COMPILING_SECONDS


class CompiledGradient:
    """Computes `gradient` by one graph: forward passes, loss, backward pass and clipping.

    The graph is for batches of the first batch's shape. Its rounding differs from running the operations one
    by one (`tests/agent/test_compiled_update.py` has the tolerance).

    Args:
        gradient: the function to compile. It may use other tensors than its arguments if they keep their
            memory.
        rng: random numbers, drawn in the order in which `gradient` asks for them.
        tensors: those other tensors, in an order that is the same in every process.
        described: `description` of everything that `gradient` depends on, by which later processes find the
            graph; None to compile it in every process.
    """

    def __init__(
        self, gradient: Gradient, rng: TorchRng, *, tensors: Sequence[Tensor], described: str | None
    ) -> None:
        self._gradient, self._rng = gradient, rng
        self._tensors, self._described = tensors, described
        self._shape = torch.Size()
        self._graph: Graph | None = None
        self._requests: list[tuple[str, tuple[int, ...]]] = []
        """Kind and shape of the random numbers of one update, in order."""

    def __call__(self, batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Set the gradients and return what `gradient` returns.

        Raises:
            CannotCompile: at the first call; no random numbers were drawn.
            ValueError: the batch differs in shape from the first one.
        """
        if self._graph is None:
            self._shape = weight.shape
            self._graph = self._compile(batch, weight)
        if weight.shape != self._shape:  # the graph would read beyond the batch
            raise ValueError(f"the batch is {tuple(weight.shape)}, the first one was {tuple(self._shape)}")
        numbers = [self._draw(*request) for request in self._requests]
        with torch.no_grad():  # the backward pass is in the graph
            priority, report = self._graph(*batch.tensors(), weight, *numbers)
        return priority, report

    def _draw(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        numbers: Tensor = getattr(self._rng, kind)(*shape)
        return numbers

    def _compile(self, batch: Batch, weight: Tensor) -> Graph:
        """Return the graph of the gradient as a function of all tensors that change between updates.

        torch.compile would also trace and guard it, which costs a small update half of its time.
        """
        samples = self._record(batch, weight)

        def flat(*tensors: Tensor) -> tuple[Tensor, Tensor]:
            each = iter(tensors)
            traced = batch.filled(each), next(each)
            return self._gradient(*traced, CallbackRng(lambda kind, shape: next(each)))

        try:
            return compiled_graph(flat, (*batch.tensors(), weight, *samples), self._tensors, self._described)
        except Exception as error:  # a custom network may do anything, and the compiler may be missing
            cause = root_cause(error)
            problem = obstacle(weight.device) or (
                f"{type(cause).__name__}: {first_line(cause)}; compiling needs a working C++ compiler and"
                " operations that torch can trace"
            )
            raise CannotCompile(problem) from error

    def _record(self, batch: Batch, weight: Tensor) -> list[Tensor]:
        """Record the requests for random numbers and return samples of them; no stream advances."""
        before = self._rng.source.state_dict()
        samples: list[Tensor] = []

        def record(kind: str, shape: tuple[int, ...]) -> Tensor:
            self._requests.append((kind, shape))
            samples.append(self._draw(kind, shape))
            return samples[-1]

        self._gradient(batch, weight, CallbackRng(record))
        self._rng.source.load_state_dict(before)
        return samples


class CallbackRng:
    """A `LearningRng` that calls `draw` for its numbers, with "normal" or "uniform" and their shape."""

    role: Role = "prediction"

    def __init__(self, draw: Callable[[str, tuple[int, ...]], Tensor]) -> None:
        self._draw = draw

    def __call__(self, role: Role) -> Rng:
        self.role = role
        return self

    def normal(self, size: int) -> Tensor:
        return self._draw("normal", (size,))

    def uniform(self, *shape: int) -> Tensor:
        return self._draw("uniform", shape)
