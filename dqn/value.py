"""Return distributions: how a head represents the return of each action.

Every method works on trailing axes with any leading ones (*), so that it reads as if for one seed.

With value rescaling, the numbers that a network gives and learns are h(return), for the h of `rescaled`;
Pohlen et al. (2018), section 3.2. A distribution then holds those numbers, and its loss and its priority
compare them. All that goes in or comes out of it is in the units of the rewards as before: the means, the
limits, the reward and the return of `shift`, and the returns that `mix` averages.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor

PrioritizedBy = Literal["td_error", "loss"]


class ReturnDistribution(Protocol):
    """The distribution of each action's return or, after `at` or `mix`, of one return."""

    def mean(self) -> Tensor:
        """Return the expected returns [*, A]; after `at` or `mix`, [*]."""

    def at(self, action: Tensor) -> Self:
        """Return the distribution of the taken action [*]."""

    def mix(self, policy: Tensor) -> Self:
        """Return the mixture over actions with the probabilities `policy` [*, A]."""

    def shift(self, reward: Tensor, discount: Tensor) -> Self:
        """Return the distribution of reward + discount * return; both are [*]."""

    def loss(self, target: Self) -> Tensor:
        """Return the distance to `target`, per sample [*]."""

    def priority(self, target: Self) -> Tensor:
        """Return the size of this prediction's error [*], at least 0, by which prioritized replay samples."""

    def limits(self) -> tuple[float, float]:
        """Return the least and the greatest return that can be represented."""


@dataclass(frozen=True)
class Expected:
    """The expected return alone: `value` is [*, A], or [*] for one action each, rescaled by `rescale`.

    With rescaling it learns the return whose h is the mean of h: less than the mean of positive returns that
    vary by chance, the same if nothing does.
    """

    value: Tensor
    huber_delta: float | None
    rescale: float | None = None

    def mean(self) -> Tensor:
        return restored(self.value, self.rescale)

    def at(self, action: Tensor) -> Self:
        return replace(self, value=self.value.gather(-1, action.unsqueeze(-1)).squeeze(-1))

    def mix(self, policy: Tensor) -> Self:
        return replace(self, value=rescaled((policy * self.mean()).sum(-1), self.rescale))

    def shift(self, reward: Tensor, discount: Tensor) -> Self:
        return replace(self, value=rescaled(reward + discount * self.mean(), self.rescale))

    def loss(self, target: Self) -> Tensor:
        """Return the Huber loss, or the squared error if `huber_delta` is None.

        With delta = 1 it is the smooth L1 loss: Mnih et al. (2015), "error clipping". The Huber loss has a
        factor 1/2 that the squared error lacks, so with a large delta it is half the squared error.
        """
        if self.huber_delta is None:
            return torch.nn.functional.mse_loss(self.value, target.value, reduction="none")
        if (delta := self.huber_delta) != 1:
            return in_units(self, delta).loss(in_units(target, delta)) * delta**2
        return torch.nn.functional.huber_loss(self.value, target.value, reduction="none")

    def priority(self, target: Self) -> Tensor:
        """Return the absolute TD error. Schaul et al. (2015), section 3.3."""
        return (target.value - self.value).abs()

    def limits(self) -> tuple[float, float]:
        return -math.inf, math.inf


@dataclass(frozen=True)
class Categorical:
    """Probabilities of fixed returns: C51. Bellemare et al. (2017).

    `log_probs` is [*, A, N], or [*, N] for one action each; `support` [N] holds the returns, evenly spaced.
    With `rescale` they are evenly spaced once rescaled, and nothing else changes: the projection keeps the
    mean of the returns themselves, and the loss compares probabilities.
    """

    log_probs: Tensor
    support: Tensor
    rescale: float | None = None

    def mean(self) -> Tensor:
        return (self.log_probs.exp() * self.support).sum(-1)

    def at(self, action: Tensor) -> Self:
        return replace(self, log_probs=taken(self.log_probs, action))

    def mix(self, policy: Tensor) -> Self:
        probs = (policy.unsqueeze(-1) * self.log_probs.exp()).sum(-2)
        return replace(self, log_probs=probs.log())

    def shift(self, reward: Tensor, discount: Tensor) -> Self:
        """Return the shifted distribution on the same support. Bellemare et al. (2017), algorithm 1."""
        shifted = reward.unsqueeze(-1) + discount.unsqueeze(-1) * self.support
        probs = project(shifted, self.log_probs.exp(), self.support, self.rescale)
        return replace(self, log_probs=probs.log())

    def loss(self, target: Self) -> Tensor:
        """Return the cross-entropy from `target` to this. Bellemare et al. (2017), algorithm 1."""
        return -(target.log_probs.exp() * self.log_probs).sum(-1)

    def priority(self, target: Self) -> Tensor:
        """Return the cross-entropy. Hessel et al. (2018) subtract the target's entropy: the KL divergence."""
        return self.loss(target)

    def limits(self) -> tuple[float, float]:
        return float(self.support[0]), float(self.support[-1])


@dataclass(frozen=True)
class Quantile:
    """Quantiles of the return: QR-DQN, Dabney et al. (2018a), and IQN, Dabney et al. (2018b).

    `value` is [*, A, N], or [*, N] for one action each, at the fractions `tau` [N] or [*, N]. `q` [*, A], if
    given, is the expected return, estimated at other fractions. With `rescale`, `value` is rescaled; as h is
    increasing, these are the quantiles of h(return). `prioritized_by` chooses what `priority` is.
    """

    value: Tensor
    tau: Tensor
    huber_delta: float | None
    q: Tensor | None = None
    rescale: float | None = None
    prioritized_by: PrioritizedBy = "td_error"

    def mean(self) -> Tensor:
        return restored(self.value, self.rescale).mean(-1) if self.q is None else self.q

    def at(self, action: Tensor) -> Self:
        return replace(self, value=taken(self.value, action), q=None)

    def mix(self, policy: Tensor) -> Self:
        """Return the quantiles averaged over actions. Vieillard et al. (2020), appendix B.3."""
        mixed = (policy.unsqueeze(-1) * restored(self.value, self.rescale)).sum(-2)
        return replace(self, value=rescaled(mixed, self.rescale), q=None)

    def shift(self, reward: Tensor, discount: Tensor) -> Self:
        shifted = reward.unsqueeze(-1) + discount.unsqueeze(-1) * restored(self.value, self.rescale)
        return replace(self, value=rescaled(shifted, self.rescale))

    def loss(self, target: Self) -> Tensor:
        """Return the quantile Huber loss, or the quantile loss if `huber_delta` is None.

        It sums over these quantiles and averages over the target's. The Huber loss is divided by
        `huber_delta`, as in Dabney et al. (2018b), eq. 3. In (2018a), eq. 10, it is not: that loss is
        `huber_delta` times this one. With delta = 1 the two are equal.
        """
        if (delta := self.huber_delta) is not None and delta != 1:
            return in_units(self, delta).loss(in_units(target, delta)) * delta
        error = target.value.unsqueeze(-2) - self.value.unsqueeze(-1)  # [*, N, N']
        tau = self.tau.unsqueeze(-1)
        weight = torch.where(error < 0, 1 - tau, tau)
        if self.huber_delta is None:
            return (weight * error.abs()).mean(-1).sum(-1)
        zero = torch.zeros_like(error[..., :1, :1]).expand_as(error)  # a view without memory of that size
        distance = torch.nn.functional.huber_loss(error, zero, reduction="none")
        return (weight * distance).mean(-1).sum(-1)

    def priority(self, target: Self) -> Tensor:
        """Return the loss or, with `td_error`, the absolute TD error of the rescaled expected returns."""
        if self.prioritized_by == "loss":
            return self.loss(target)
        return (rescaled(target.mean(), self.rescale) - rescaled(self.mean(), self.rescale)).abs()

    def limits(self) -> tuple[float, float]:
        return -math.inf, math.inf


HuberLoss = TypeVar("HuberLoss", Expected, Quantile)


def in_units(z: HuberLoss, delta: float) -> HuberLoss:
    """Return returns in units of `delta`, where the Huber loss changes to linear at 1.

    With another delta, the gradient's kernel rounds differently in its vector body and its scalar tail, so
    that of a seed would depend on the other seeds.
    """
    return replace(z, value=z.value / delta, huber_delta=1.0)


def taken(values: Tensor, action: Tensor) -> Tensor:
    """Return the values [*, N] of the actions [*] among `values` [*, A, N]."""
    index = action[..., None, None].expand(*action.shape, 1, values.shape[-1])
    return values.gather(-2, index).squeeze(-2)


def rescaled(x: Tensor, eps: float | None) -> Tensor:
    """Return h(x) = sign(x) (sqrt(|x| + 1) - 1) + eps x of returns; x itself if `eps` is None.

    Pohlen et al. (2018), section 3.2. The difference is written as a quotient, because it cancels at small x.
    """
    if eps is None:
        return x
    return x / (torch.sqrt(torch.abs(x) + 1) + 1) + eps * x


def restored(y: Tensor, eps: float | None) -> Tensor:
    """Return the returns x with h(x) = y, of `rescaled`; y itself if `eps` is None.

    With s = sign(x) (sqrt(|x| + 1) - 1), x is s (|s| + 2), and s solves eps s (|s| + 2) + s = y. The usual
    solution cancels at small y; this is the same one with the other half of the quadratic formula.
    """
    if eps is None:
        return y
    linear = 1 + 2 * eps
    s = 2 * y / (torch.sqrt(4 * eps * torch.abs(y) + linear**2) + linear)
    return s * (torch.abs(s) + 2)


def project(atoms: Tensor, probs: Tensor, support: Tensor, eps: float | None = None) -> Tensor:
    """Return the probabilities `probs` [*, M] at `atoms` [*, M], projected onto `support` as [*, N].

    Each atom's mass is split between its two neighbours on the support, more to the nearer one; an atom
    beyond an end counts as that end. So the total mass is kept and, for atoms within the support, the mean
    too. Bellemare et al. (2017), algorithm 1. With `eps`, the support is evenly spaced once rescaled.
    """
    last = support.shape[-1] - 1
    low, high = rescaled(support[0], eps), rescaled(support[-1], eps)
    position = ((rescaled(atoms, eps) - low) / (high - low) * last).clamp(0, last)  # [*, M], in atoms
    below = position.floor().clamp(max=last - 1)
    share = position - below  # of the upper neighbour
    index = below.long()
    if eps is not None:  # nearness of the returns themselves keeps their mean
        lower, upper = support[index], support[index + 1]
        share = ((atoms - lower) / (upper - lower)).clamp(0, 1)
    projected = torch.zeros(*probs.shape[:-1], last + 1, dtype=probs.dtype, device=probs.device)
    projected.scatter_add_(-1, index, probs * (1 - share))
    return projected.scatter_add_(-1, index + 1, probs * share)
