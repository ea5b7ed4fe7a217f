"""The optimizer of all parameters of all seeds, which are one buffer."""

from collections.abc import Iterable
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from dqn.types import Positive

Decay = Annotated[float, Ge(0), Lt(1)]


class Optimizer(Protocol):
    """What moves parameters by their gradients; those of torch.optim are such."""

    param_groups: list[dict[str, Any]]
    """The learning rate is the "lr" of the first."""

    def step(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class MakeOptimizer(Protocol):
    """Makes an optimizer of parameters."""

    def __call__(self, params: Iterable[nn.Parameter], *, lr: float) -> Optimizer: ...


class Adam:
    """Adam, bias-corrected, by torch's fused kernel. Kingma and Ba (2015), algorithm 1.

    It is torch.optim.Adam with fused=True, bit for bit. That one imports torch's compiler at its first step,
    two CPU seconds of every run, and takes longer to find its state than the kernel to compute.

    Args:
        betas: decay of the averages of the gradient and of its square, per update.
        eps: added to the root of the second average.
        params: tensors with gradients.
        lr: learning rate.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: Positive, betas: tuple[Decay, Decay], eps: Positive
    ) -> None:
        self.betas, self.eps = betas, eps
        self.param_groups: list[dict[str, Any]] = [{"params": list(params), "lr": lr}]
        leaves = self.param_groups[0]["params"]
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
                tensor.copy_(stored)
