"""The values of one network at both ends of a batch's transitions."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dqn.agent.backup import End
from dqn.agent.compiled_update import LearningRng
from dqn.network import QNetwork
from dqn.types import Batch, Rng, Role, Window
from dqn.value import ReturnDistribution


@dataclass
class TransitionValues:
    """The values of a batch's states by one network; called, it is the backups' `ActionValues`.

    Args:
        network: the network. A recurrent one plays each window once, for both ends.
        batch: the transitions.
        rng: random numbers by role.
        is_mixed: whether the products of torso and core are in bfloat16.
    """

    network: QNetwork
    batch: Batch
    rng: LearningRng
    is_mixed: bool
    _features: Tensor | None = field(default=None, init=False)

    def returns(self, end: End, role: Role) -> ReturnDistribution:
        """Return the distributions of all actions at one end of the transitions [K, B, A]."""
        rng = self.rng(role)
        if self.batch.window is not None:
            return self.network.head.forward(self._features_at(end, self.batch.window, rng), rng)
        forward = self.network.mixed if self.is_mixed else self.network
        returns: ReturnDistribution = forward(getattr(self.batch, end), rng)
        return returns

    def _features_at(self, end: End, window: Window, rng: Rng) -> Tensor:
        """Return the features of one end of the steps of windows [K, T * B, F]."""
        if self._features is None:
            obs = self.batch.obs
            with torch.autocast(obs.device.type, torch.bfloat16, enabled=self.is_mixed):
                features = self.network.unroll(obs, window, rng)
            self._features = features.float().flatten(1, 2)
        if end == "obs":
            return self._features[:, : window.following.shape[1]]
        index = window.following.unsqueeze(-1).expand(-1, -1, self._features.shape[-1])
        return self._features.gather(1, index)

    def __call__(self, end: End) -> Tensor:
        """Return the expected returns [K, B, A], for the choice of an action, -inf for invalid ones."""
        return self.valid(self.returns(end, "action").mean(), end)

    def valid(self, q: Tensor, end: End) -> Tensor:
        """Return action values [K, B, A] with -inf for the actions that are invalid at one end."""
        mask = self.batch.mask if end == "obs" else self.batch.next_mask
        return q if mask is None else q.masked_fill(~mask, -torch.inf)
