"""The gradient of an update as one compiled graph."""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dqn.agent.compile_cache import Graph, cache_folder, compiled_graph
from dqn.agent.rng import TorchRng
from dqn.errors import UserError, first_line
from dqn.types import Batch, Rng, Role


class LearningRng(Protocol):
    """Random numbers for each role in an update."""

    def __call__(self, role: Role) -> Rng:
        """Return an rng that has `role` until the next call."""
        ...


class Gradient(Protocol):
    """Sets the gradients of a batch's weighted losses; returns what an update reports."""

    def __call__(self, batch: Batch, weight: Tensor, rng: LearningRng) -> tuple[Tensor, Tensor]: ...


class GradientStep(Protocol):
    """The same on random numbers of its own: the first half of an update."""

    def __call__(self, batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor]: ...


COMPILING_SECONDS = 12.0
SAVED_SECONDS = 0.6e-3, 0.06e-3
"""Of CPU: what compiling costs at first, and what each update saves of it, in all and for each seed.

Measured for small perceptrons, in whole runs of the works of `scripts/benchmark.py`; DQN's graph takes 12
seconds to compile, Rainbow's 16, the first one on a machine 6 more. Later processes find it at once, unless
a part of the network or the backup is the user's own.
"""


def repays(updates: int, num_seeds: int) -> bool:
    """Return whether so many updates save what compiling them costs, on a machine that can compile."""
    whole, each = SAVED_SECONDS
    return updates * (whole + each * num_seeds) > COMPILING_SECONDS and find_compiler() is not None


def find_compiler() -> str | None:
    """Return the C++ compiler that would be used, None if there is none."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


class EagerGradient:
    """What `gradient` computes, operation by operation."""

    def __init__(self, gradient: Gradient, rng: TorchRng) -> None:
        self._gradient, self._rng = gradient, rng

    def __call__(self, batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._gradient(batch, weight, self._rng)


class CompiledGradient:
    """What `gradient` computes, by one graph for batches of the first one's shape.

    The graph has the forward passes, the loss, the backward pass and the clipping. It rounds otherwise than
    the same operations one by one do (`tests/agent/test_compiled_update.py` has the tolerance).

    Args:
        gradient: what is to be compiled; its tensors other than the arguments stay where they are.
        rng: gives the random numbers, as many and in the order in which `gradient` asks for them.
        tensors: those other tensors, in an order that is the same in every process.
        described: `description` of all that `gradient` depends on: later processes find the graph by it.
    """

    def __init__(
        self, gradient: Gradient, rng: TorchRng, *, tensors: Sequence[Tensor], described: str | None
    ) -> None:
        self._gradient, self._rng = gradient, rng
        self._tensors, self._described = tensors, described
        self._asked: list[tuple[str, tuple[int, ...]]] = []
        self._shape = torch.Size()
        self._graph: Graph | None = None

    def __call__(self, batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Set the gradients and return what `gradient` returns.

        Raises:
            UserError: it cannot be compiled here.
            ValueError: the batch has not the first one's shape.
        """
        if self._graph is None:
            self._shape = weight.shape
            numbers = self._recorded(batch, weight)
            try:
                self._graph = self._compile(batch, weight, numbers)
            except Exception as error:  # of a network of the user's own, or for want of a compiler
                cause = error
                while isinstance(cause.__cause__, Exception):
                    cause = cause.__cause__
                raise UserError(
                    f"agent.compile: the update cannot be compiled ({type(cause).__name__}:"
                    f" {first_line(cause)}); that needs a C++ compiler, operations that torch can trace and"
                    f" room in {cache_folder()}, or below XDG_CACHE_HOME; agent.compile=false does without"
                ) from error
        if weight.shape != self._shape:  # the graph would read what lies behind
            raise ValueError(f"the batch is {tuple(weight.shape)}, the first one was {tuple(self._shape)}")
        numbers = [getattr(self._rng, kind)(*shape) for kind, shape in self._asked]
        with torch.no_grad():  # the backward pass is in the graph
            priority, report = self._graph(*batch, weight, *numbers)
        return priority, report

    def _recorded(self, batch: Batch, weight: Tensor) -> list[Tensor]:
        """Note what random numbers the gradient asks for, and return some; none are used up."""
        before = self._rng.source.state_dict()
        recorder = Recorder(self._rng)
        self._gradient(batch, weight, recorder)
        self._rng.source.load_state_dict(before)
        self._asked = recorder.asked
        return recorder.numbers

    def _compile(self, batch: Batch, weight: Tensor, numbers: list[Tensor]) -> Graph:
        """Return the graph of the same gradient as a function of all tensors that change.

        torch.compile would trace and guard it, too: that costs a small update half of its time.
        """

        def flat(*tensors: Tensor) -> tuple[Tensor, Tensor]:
            *fields, last = tensors[: len(batch) + 1]
            return self._gradient(Batch(*fields), last, Given(tensors[len(batch) + 1 :]))

        return compiled_graph(flat, (*batch, weight, *numbers), self._tensors, self._described)


class Recorder:
    """An rng that keeps what it is asked for and what it gave."""

    def __init__(self, rng: TorchRng) -> None:
        self._rng = rng
        self.role: Role = rng.role
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self.numbers: list[Tensor] = []

    def __call__(self, role: Role) -> Rng:
        self.role = role
        return self

    def normal(self, size: int) -> Tensor:
        return self._recorded("normal", size)

    def uniform(self, *shape: int) -> Tensor:
        return self._recorded("uniform", *shape)

    def _recorded(self, kind: str, *shape: int) -> Tensor:
        self.asked.append((kind, shape))
        self.numbers.append(getattr(self._rng, kind)(*shape))
        return self.numbers[-1]


class Given:
    """An rng that gives numbers drawn before, in their order."""

    def __init__(self, numbers: tuple[Tensor, ...]) -> None:
        self._numbers = iter(numbers)
        self.role: Role = "prediction"

    def __call__(self, role: Role) -> Rng:
        self.role = role
        return self

    def normal(self, size: int) -> Tensor:
        return next(self._numbers)

    def uniform(self, *shape: int) -> Tensor:
        return next(self._numbers)
