"""The values of one network at both ends of a batch's transitions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dqn.agent.backup import End
from dqn.agent.compiled_update import LearningRng
from dqn.network import QNetwork
from dqn.types import Batch, Rng, Role
from dqn.value import ReturnDistribution

Forward = Callable[[QNetwork, Tensor, Rng], ReturnDistribution]
"""The return distributions of a network, given observations and an rng."""


@dataclass(frozen=True)
class TransitionValues:
    """The values of a batch's states by one network; called, it is the backups' `ActionValues`."""

    network: QNetwork
    batch: Batch
    rng: LearningRng
    forward: Forward

    def returns(self, end: End, role: Role) -> ReturnDistribution:
        """Return the distributions of all actions at one end of the transitions [K, B, A]."""
        return self.forward(self.network, getattr(self.batch, end), self.rng(role))

    def __call__(self, end: End) -> Tensor:
        """Return the expected returns [K, B, A], for the choice of an action, -inf for invalid ones."""
        return self.valid(self.returns(end, "action").mean(), end)

    def valid(self, q: Tensor, end: End) -> Tensor:
        """Return action values [K, B, A] with -inf for the actions that are invalid at one end."""
        mask = self.batch.mask if end == "obs" else self.batch.next_mask
        return q if mask is None else q.masked_fill(~mask, -torch.inf)
