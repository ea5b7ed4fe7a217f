"""Backups: how the next state is valued, as a policy over its actions and an addition to the reward."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from dqn.types import Batch, NotPositive, Positive, Probability

ActionValues = Callable[[Tensor], Tensor]
"""Observations [K, B, ...] to the expected returns of their actions [K, B, A]."""


class Backup(Protocol):
    def __call__(
        self, batch: Batch, q_next: Tensor, online: ActionValues, target: ActionValues
    ) -> tuple[Tensor, Tensor | float]:
        """Return the policy [K, B, A] that mixes the target network's values of next_obs, and a bonus [K, B].

        The bonus is added to the reward.

        Args:
            batch: the sample.
            q_next: the target network's values of next_obs [K, B, A].
            online: the online network.
            target: the target network.
        """


class Greedy:
    """The target network's best action. Mnih et al. (2015), algorithm 1."""

    def __call__(
        self, batch: Batch, q_next: Tensor, online: ActionValues, target: ActionValues
    ) -> tuple[Tensor, Tensor | float]:
        return greedy(q_next), 0.0


class Double:
    """The online network's best action. van Hasselt et al. (2016), eq. 4."""

    def __call__(
        self, batch: Batch, q_next: Tensor, online: ActionValues, target: ActionValues
    ) -> tuple[Tensor, Tensor | float]:
        return greedy(online(batch.next_obs)), 0.0


class Munchausen:
    """The target network's soft policy, and its scaled log-policy as a bonus. Vieillard et al. (2020), eq. 1.

    With pi = softmax(q / temperature), the bonus is alpha * [temperature * log pi(action | obs)] clipped to
    [clip, 0], plus discount * temperature * entropy of pi at next_obs: the mean of q - temperature * log pi
    is the mean of q plus that. With n-step returns, which the paper has not, the bonus is that of the first
    step and the entropy that of the last state.

    Args:
        temperature: in units of the learned return.
        alpha: scale of the log-policy.
        clip: the least log-policy times temperature; 0 or less.
    """

    def __init__(self, *, temperature: Positive, alpha: Probability, clip: NotPositive) -> None:
        self.temperature, self.alpha, self.clip = temperature, alpha, clip

    def __call__(
        self, batch: Batch, q_next: Tensor, online: ActionValues, target: ActionValues
    ) -> tuple[Tensor, Tensor | float]:
        log_policy = self._log_policy(q_next)
        policy = log_policy.exp()
        entropy = -(policy * log_policy).sum(-1)
        taken = self._log_policy(target(batch.obs)).gather(-1, batch.action.unsqueeze(-1)).squeeze(-1)
        munchausen = (self.temperature * taken).clamp(self.clip, 0)
        return policy, self.alpha * munchausen + batch.discount * self.temperature * entropy

    def _log_policy(self, q: Tensor) -> Tensor:
        return torch.log_softmax(q / self.temperature, -1)


def greedy(q: Tensor) -> Tensor:
    """Return the policy [*, A] that puts all weight on the first action of the largest value in q [*, A]."""
    return torch.zeros_like(q).scatter_(-1, q.argmax(-1, keepdim=True), 1.0)
