"""Checks of the return distribution that a network gives."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dqn.conformance.assertions import near, require
from dqn.conformance.candidate import Candidate, batch_of, perturb
from dqn.types import Batch

SIZE = 6
DISCOUNTS = (0.0, 0.5)


@torch.no_grad()
def distribution(candidate: Candidate) -> str:
    """Check the return distribution on leading axes [K, B]; return its name."""
    network, other = candidate.network((0, 1)), candidate.network((0, 1))
    perturb(other, slice(None))
    batch = batch_of(candidate.spec, 2, SIZE)
    whole = network.forward(batch.obs, None)
    require(
        whole.mean().shape == (2, SIZE, candidate.spec.num_actions),
        f"mean() has shape {list(whole.mean().shape)}; it should be [K, B, A]",
    )
    check_actions(whole, batch, candidate.spec.num_actions)
    low, high = finite(*whole.limits())
    share = torch.sigmoid(batch.reward)
    for discount in DISCOUNTS:  # by these rewards no return leaves the support
        reward = (1 - discount) * (low + share * (high - low))
        check_shift(whole.at(batch.action), reward, torch.full_like(reward, discount))
    check_errors(network, other, batch)
    return type(whole).__name__


def finite(low: float, high: float) -> tuple[float, float]:
    """Return limits of returns; 1 stands for no limit."""
    return max(low, -1.0) if low == -math.inf else low, min(high, 1.0) if high == math.inf else high


def check_actions(whole: Any, batch: Batch, num_actions: int) -> None:
    """Check `at` and `mix` against each other and against mean()."""
    taken = whole.mean().gather(-1, batch.action.unsqueeze(-1)).squeeze(-1)
    near(whole.at(batch.action).mean(), taken, "at(action).mean() is not mean() of that action")
    certain = torch.nn.functional.one_hot(batch.action, num_actions).float()
    mixed = whole.mix(certain)
    near(
        mixed.mean(),
        taken,
        "mix of a policy that is sure of an action is not the distribution of that action",
    )
    even = torch.full_like(certain, 1 / num_actions)
    near(
        whole.mix(even).mean(),
        whole.mean().mean(-1),
        "the mean of mix(policy) is not the policy's mean of mean()",
    )
    one, other = whole.at(batch.action), whole.mix(certain)
    for name in ("loss", "priority"):
        mine, theirs = (getattr(one, name)(target) for target in (one, other))
        near(
            mine, theirs, f"{name} to mix of a policy that is sure of an action is not that to this action's"
        )


def check_shift(taken: Any, reward: Tensor, discount: Tensor) -> None:
    expected = reward + discount * taken.mean()
    text = "the mean after shift(reward, discount) should be reward + discount * mean"
    near(taken.shift(reward, discount).mean(), expected, f"{text}, for discount={float(discount[0, 0])}")


def check_errors(network: Any, other: Any, batch: Batch) -> None:
    """Check `loss` and `priority`: shapes, limits, and that each sample is by itself."""
    for name in ("loss", "priority"):
        whole = errors(network, other, batch, name)
        require(
            whole.shape == (2, SIZE),
            f"{name} has shape {list(whole.shape)}; it should be [K, B]: one per sample",
        )
        require(bool(whole.isfinite().all()), f"{name} is not finite")
        for b in range(SIZE):
            row = Batch(*(field[:, b : b + 1] for field in batch))
            alone = errors(network, other, row, name)
            text = (
                f"{name} of a sample alone is another than in a batch; it should depend on this sample only"
            )
            near(whole[:, b], alone[:, 0], text)
        require(
            name == "loss" or bool((whole >= 0).all()), "a priority is less than 0; it should be at least 0"
        )


def errors(network: Any, other: Any, batch: Batch, name: str) -> Tensor:
    """Return losses or priorities [K, B] of a prediction, the target being another network's."""
    prediction = network.forward(batch.obs, None).at(batch.action)
    following = other.forward(batch.next_obs, None)
    policy = torch.softmax(following.mean(), -1)
    target = following.mix(policy).shift(batch.reward, batch.discount)
    error: Callable[[Any], Tensor] = getattr(prediction, name)
    return error(target)
