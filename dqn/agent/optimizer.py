"""Optimizers of all parameters of all seeds, which are one buffer."""

from collections.abc import Iterable
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from dqn.state import check_formats
from dqn.types import Positive

Decay = Annotated[float, Ge(0), Lt(1)]


class Optimizer(Protocol):
    """Moves parameters by their gradients; an optimizer of torch.optim or one like it."""

    param_groups: list[dict[str, Any]]
    """The agent sets the "lr" of the first group before each step."""

    def step(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class MakeOptimizer(Protocol):
    """Makes an optimizer of parameters."""

    def __call__(self, params: Iterable[nn.Parameter], *, lr: float) -> Optimizer: ...


class Adam:
    """Adam, bias-corrected, by torch's fused kernel. Kingma and Ba (2015), algorithm 1.

    The results are those of torch.optim.Adam with fused=True, bit for bit. That class imports torch's
    compiler at its first step (two CPU seconds), and finding its state takes longer than the kernel.

    Args:
        params: parameters with gradients.
        lr: learning rate.
        betas: decay per update of the averages of the gradient and of its square.
        eps: added to the root of the second average.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: Positive, betas: tuple[Decay, Decay], eps: Positive
    ) -> None:
        self.betas, self.eps = betas, eps
        leaves = list(params)
        self.param_groups: list[dict[str, Any]] = [{"params": leaves, "lr": lr}]
        self._values: list[Tensor] = [leaf.detach() for leaf in leaves]
        self._averages: list[Tensor] = [torch.zeros_like(leaf) for leaf in self._values]
        self._squares: list[Tensor] = [torch.zeros_like(leaf) for leaf in self._values]
        self._steps = [torch.zeros((), device=leaf.device) for leaf in self._values]

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters by their gradients."""
        group = self.param_groups[0]
        for step in self._steps:
            step.add_(1)
        torch._fused_adam_(
            self._values,
            [leaf.grad for leaf in group["params"]],
            self._averages,
            self._squares,
            [],
            self._steps,
            lr=group["lr"],
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"averages": self._averages, "squares": self._squares, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, mine in self.state_dict().items():
            for tensor, stored in zip(mine, state[name], strict=True):
                check_formats({name: stored}, {name: tensor})
                tensor.copy_(stored)
