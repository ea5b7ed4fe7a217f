"""Backups: how the next state is valued, as a policy over its actions."""

from typing import Protocol

import torch
from torch import Tensor

from dqn.network import QNetwork
from dqn.types import Batch


class Backup(Protocol):
    def __call__(self, batch: Batch, q_next: Tensor, online: QNetwork) -> Tensor:
        """Return the policy [K, B, A] with which the target network's values of next_obs are mixed.

        Args:
            batch: the sample.
            q_next: the target network's values of next_obs [K, B, A].
            online: the online network.
        """


class Greedy:
    """The target network's best action. Mnih et al. (2015), algorithm 1."""

    def __call__(self, batch: Batch, q_next: Tensor, online: QNetwork) -> Tensor:
        return greedy(q_next)


class Double:
    """The online network's best action. van Hasselt et al. (2016), eq. 4."""

    def __call__(self, batch: Batch, q_next: Tensor, online: QNetwork) -> Tensor:
        return greedy(online(batch.next_obs).mean())


def greedy(q: Tensor) -> Tensor:
    """Return the policy [*, A] that puts all weight on the first action of the largest value in q [*, A]."""
    return torch.zeros_like(q).scatter_(-1, q.argmax(-1, keepdim=True), 1.0)
