"""Checks of the return distributions that a network predicts."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dqn.conformance.assertions import require, require_close, require_finite, require_shape
from dqn.conformance.candidate import SEEDS, Candidate, perturb, random_batch
from dqn.types import Batch

SIZE = 6
DISCOUNTS = (0.0, 0.5)


@torch.no_grad()
def distribution(candidate: Candidate) -> str:
    """Check the return distribution on leading axes [K, B]; return the name of its class."""
    network, other = candidate.network(SEEDS), candidate.network(SEEDS)
    perturb(other, slice(None))
    batch = random_batch(candidate.spec, SIZE)
    whole = network.forward(batch.obs, None)
    require_shape("mean()", whole.mean(), (*batch.action.shape, candidate.spec.num_actions), ": [K, B, A]")
    check_actions(whole, batch.action)
    check_shift(whole, batch)
    check_errors(network, other, batch)
    return type(whole).__name__


def finite(low: float, high: float) -> tuple[float, float]:
    """Return limits of returns; -1 or 1 replaces an infinite one unless the other limit is beyond it."""
    return max(low, -1.0) if low == -math.inf else low, min(high, 1.0) if high == math.inf else high


def check_actions(whole: Any, action: Tensor) -> None:
    """Check `at` and `mix` against each other and against mean()."""
    mean = whole.mean()
    taken = mean.gather(-1, action.unsqueeze(-1)).squeeze(-1)
    certain = one_hot(action, mean.shape[-1]).float()
    even = torch.full_like(certain, 1 / mean.shape[-1])
    one, other = whole.at(action), whole.mix(certain)
    sure = "of a policy that is sure of an action"
    require_close(one.mean(), taken, "at(action).mean() is not mean() of that action")
    require_close(other.mean(), taken, f"mix {sure} is not the distribution of that action")
    text = "the mean of mix(policy) is not the policy's mean of mean()"
    require_close(whole.mix(even).mean(), mean.mean(-1), text)
    for name in ("loss", "priority"):
        error = getattr(one, name)
        require_close(error(one), error(other), f"{name} to mix {sure} is not that to this action's")


def check_shift(whole: Any, batch: Batch) -> None:
    """Check the mean of `shift`, with rewards by which no return leaves the support."""
    taken = whole.at(batch.action)
    low, high = finite(*whole.limits())
    share = torch.sigmoid(batch.reward)
    for discount in DISCOUNTS:
        reward = (1 - discount) * (low + share * (high - low))
        shifted = taken.shift(reward, torch.full_like(reward, discount)).mean()
        text = "the mean after shift(reward, discount) should be reward + discount * mean"
        require_close(shifted, reward + discount * taken.mean(), f"{text}, for discount={discount}")


def check_errors(network: Any, other: Any, batch: Batch) -> None:
    """Check shape and range of `loss` and `priority`, and that each sample's depends on this sample only."""
    whole = errors(network, other, batch)
    alone = [
        errors(network, other, batch.filled(each[:, [b]] for each in batch.tensors())) for b in range(SIZE)
    ]
    for name, error in whole.items():
        require_shape(name, error, batch.action.shape, ": [K, B], one per sample")
        require_finite(name, error)
        text = f"{name} of a sample differs alone and in a batch; it should depend on this sample only"
        require_close(torch.cat([one[name] for one in alone], 1), error, text)
    require(bool((whole["priority"] >= 0).all()), "a priority is less than 0; it should be at least 0")


def errors(network: Any, other: Any, batch: Batch) -> dict[str, Tensor]:
    """Return losses and priorities [K, B] of one network's predictions for targets of another."""
    prediction = network.forward(batch.obs, None).at(batch.action)
    following = other.forward(batch.next_obs, None)
    policy = torch.softmax(following.mean(), -1)
    target = following.mix(policy).shift(batch.reward, batch.discount)
    return {"loss": prediction.loss(target), "priority": prediction.priority(target)}
