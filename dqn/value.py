"""Return distributions: how a head represents the return of each action.

Every method works on trailing axes with any leading ones (*), so that it reads as if for one seed.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor


class ReturnDistribution(Protocol):
    """The return of each action (or, after `at` and `mix`, of one)."""

    def mean(self) -> Tensor:
        """Return the expected returns [*, A]."""

    def at(self, action: Tensor) -> Self:
        """Return the distribution of the taken action [*]."""

    def mix(self, policy: Tensor) -> Self:
        """Return the mixture over actions with probabilities `policy` [*, A]."""

    def shift(self, reward: Tensor, discount: Tensor) -> Self:
        """Return the distribution of reward + discount * return; both are [*]."""

    def loss(self, target: Self) -> Tensor:
        """Return the distance to `target`, per sample [*]."""

    def priority(self, target: Self) -> Tensor:
        """Return how wrong this prediction is [*], at least 0: what prioritized replay draws by."""


@dataclass(frozen=True)
class Expected:
    """The expected return alone: `value` is [*, A], or [*] for one action each."""

    value: Tensor
    huber_delta: float | None

    def mean(self) -> Tensor:
        return self.value

    def at(self, action: Tensor) -> Self:
        return replace(self, value=self.value.gather(-1, action.unsqueeze(-1)).squeeze(-1))

    def mix(self, policy: Tensor) -> Self:
        return replace(self, value=(policy * self.value).sum(-1))

    def shift(self, reward: Tensor, discount: Tensor) -> Self:
        return replace(self, value=reward + discount * self.value)

    def loss(self, target: Self) -> Tensor:
        """Return Huber's distance, or the squared one where `huber_delta` is None.

        Mnih et al. (2015), "error clipping": delta = 1 is the smooth L1 loss. The squared distance has no
        factor 1/2; Huber's has it, so with a large delta it is half the squared one.
        """
        if self.huber_delta is None:
            return torch.nn.functional.mse_loss(self.value, target.value, reduction="none")
        return torch.nn.functional.huber_loss(
            self.value, target.value, reduction="none", delta=self.huber_delta
        )

    def priority(self, target: Self) -> Tensor:
        """Return the absolute TD error. Schaul et al. (2015), section 3.3."""
        return (target.value - self.value).abs()
