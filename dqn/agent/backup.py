"""Backups: the value of the next state, as a policy over its actions and a bonus, or as a number."""

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from dqn.types import Batch, NotPositive, Positive, Probability
from dqn.value import ReturnDistribution

End = Literal["obs", "next_obs"]
"""The observations at one end of the transitions of a batch."""

ActionValues = Callable[[End], Tensor]
"""Maps an end of the transitions to the expected returns of all actions there [K, B, A].

Those of invalid actions are -inf; at least one action is valid.
"""

Valued = tuple[Tensor, Tensor | float] | Tensor
"""The value of next states: a policy over actions [K, B, A] and a bonus [K, B], or plain values [K, B]."""


class Backup(Protocol):
    """Values the next state of each transition."""

    def __call__(self, batch: Batch, q_next: Tensor, online: ActionValues, target: ActionValues) -> Valued:
        """Return the policy at next_obs [K, B, A] and a bonus that is added to the reward [K, B].

        The policy weights the target network's return distributions of the actions. A backup that is no mean
        over actions returns the values of next_obs [K, B] instead; the target is then a single return,
        reward + discount * value, for any head.

        Args:
            batch: transitions [K, B, ...].
            q_next: the target network's action values at next_obs [K, B, A], -inf for invalid actions, which
                should get the weight 0.
            online: action values by the online network; online("next_obs") are those of the next states.
            target: action values by the target network.
        """


class Greedy:
    """The best action of the target network. Mnih et al. (2015), algorithm 1."""

    def __call__(
        self, batch: Batch, q_next: Tensor, online: ActionValues, target: ActionValues
    ) -> tuple[Tensor, Tensor | float]:
        return greedy(q_next), 0.0


class Double:
    """The best action of the online network. van Hasselt et al. (2016), eq. 4."""

    def __call__(
        self, batch: Batch, q_next: Tensor, online: ActionValues, target: ActionValues
    ) -> tuple[Tensor, Tensor | float]:
        return greedy(online("next_obs")), 0.0


class Munchausen:
    """The target network's soft policy, its scaled log-policy as a bonus. Vieillard et al. (2020), eq. 1.

    With pi = softmax(q / temperature), the bonus is

        alpha * [temperature * log pi(action | obs)] clipped to [clip, 0] + discount * temperature * H(pi),

    where the entropy H at next_obs turns the mean of q into the paper's mean of q - temperature * log pi.
    The paper has one-step returns only; with n steps the log-policy is that of the first step and the entropy
    that of the last state.

    Args:
        temperature: temperature of the softmax, in units of the learned return.
        alpha: scale of the log-policy.
        clip: lower bound of temperature * log pi; 0 or less.
    """

    def __init__(self, *, temperature: Positive, alpha: Probability, clip: NotPositive) -> None:
        self.temperature, self.alpha, self.clip = temperature, alpha, clip

    def __call__(
        self, batch: Batch, q_next: Tensor, online: ActionValues, target: ActionValues
    ) -> tuple[Tensor, Tensor | float]:
        log_policy = self._log_policy(q_next)
        policy = log_policy.exp()
        entropy = -(policy * log_policy.clamp_min(torch.finfo(torch.float32).min)).sum(-1)  # 0 log 0 = 0
        taken = self._log_policy(target("obs")).gather(-1, batch.action.unsqueeze(-1)).squeeze(-1)
        munchausen = (self.temperature * taken).clamp(self.clip, 0)
        return policy, self.alpha * munchausen + batch.discount * self.temperature * entropy

    def _log_policy(self, q: Tensor) -> Tensor:
        return torch.log_softmax(q / self.temperature, -1)


def target_of(valued: Valued, batch: Batch, following: ReturnDistribution) -> ReturnDistribution:
    """Return the target distributions [K, B], from a backup's result and the distributions at next_obs.

    Raises:
        ValueError: plain values are not [K, B].
    """
    if not isinstance(valued, Tensor):
        policy, bonus = valued
        return following.mix(policy).shift(batch.reward + bonus, batch.discount)
    if valued.shape != batch.reward.shape:
        shapes = f"{list(valued.shape)}; they should be {list(batch.reward.shape)}: [K, B]"
        raise ValueError(f"the backup returned values of the shape {shapes}")
    any_action = following.mix(greedy(following.mean()))
    return any_action.shift(batch.reward + batch.discount * valued, torch.zeros_like(batch.discount))


def greedy(q: Tensor) -> Tensor:
    """Return the policy [*, A] that puts all weight on the first action of the largest value in q [*, A]."""
    return torch.zeros_like(q).scatter_(-1, q.argmax(-1, keepdim=True), 1.0)
