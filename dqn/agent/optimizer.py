"""Optimizers of all parameters of all seeds, which are one buffer."""

from collections.abc import Iterable
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from dqn.state import check_formats
from dqn.types import Positive

Decay = Annotated[float, Ge(0), Lt(1)]
LEAST_EPS = 1e-37
"""Smaller numbers count as this one: in float32 they may be 0, and a denominator of 0 gives NaN."""


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
        self.betas, self.eps = betas, max(eps, LEAST_EPS)
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
        copy_tensors(self.state_dict(), state)


class RMSprop:
    """RMSprop without momentum: a step of lr * g / sqrt(v + eps) for a gradient g. Mnih et al. (2015).

    Graves (2013), eq. 38 to 40: v is the running average of g^2 and, if `centered`, less the square of the
    running average of g. This variance is computed from the deviations of g from its average, which is equal
    in exact arithmetic; the difference of the averages rounds to numbers below 0, whose root is NaN.
    torch.optim.RMSprop adds eps to the root.

    Args:
        params: parameters with gradients.
        lr: learning rate.
        alpha: decay per update of the averages.
        eps: added to v, below the root.
        centered: whether v is the variance rather than the mean square.
    """

    LARGEST = 2.0**63
    """Deviations beyond it count as it; the squares of larger ones would overflow, which ends learning."""

    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: Positive, alpha: Decay, eps: Positive, centered: bool
    ) -> None:
        self.alpha, self.eps, self.centered = alpha, max(eps, LEAST_EPS), centered
        leaves = list(params)
        self.param_groups: list[dict[str, Any]] = [{"params": leaves, "lr": lr}]
        self._averages = [torch.zeros_like(leaf.detach()) for leaf in leaves]
        self._variances = [torch.zeros_like(average) for average in self._averages]

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters by their gradients."""
        group, rate = self.param_groups[0], 1 - self.alpha
        for leaf, average, variance in zip(group["params"], self._averages, self._variances, strict=True):
            deviation = (leaf.grad - average).clamp_(-self.LARGEST, self.LARGEST)
            if self.centered:
                average.add_(deviation, alpha=rate)
                variance.addcmul_(deviation, deviation, value=rate).mul_(self.alpha)
            else:  # the average stays 0, so the deviation is the gradient
                variance.mul_(self.alpha).addcmul_(deviation, deviation, value=rate)
            leaf.addcdiv_(leaf.grad, (variance + self.eps).sqrt_(), value=-group["lr"])

    def state_dict(self) -> dict[str, Any]:
        return {"averages": self._averages, "variances": self._variances}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        copy_tensors(self.state_dict(), state)


def copy_tensors(mine: dict[str, list[Tensor]], stored: dict[str, Any]) -> None:
    """Copy the tensors of a stored state into those of the same state of an optimizer."""
    for name, tensors in mine.items():
        for tensor, value in zip(tensors, stored[name], strict=True):
            check_formats({name: value}, {name: tensor})
            tensor.copy_(value)
