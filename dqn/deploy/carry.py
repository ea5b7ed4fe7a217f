"""The memory that a recurrent policy has of the episodes which a user plays with it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dqn.env.spec import numbers_of
from dqn.types import Floats, Integers

GIVE = "as in `carry = policy.start()` and then `action, carry = policy(obs, carry)`"


class Carry(NamedTuple):
    """The memory of B episodes: `policy.start` returns that of new ones, each call that after its step."""

    state: Floats
    """The network's state [B, C]."""
    previous: Floats
    """The latest actions, one-hot, and a zero for their rewards [B, A + 1], or [B, 0]; zeros at a start."""

    def restarted(self, where: ArrayLike) -> "Carry":
        """Return the carry in which the episodes `where`, true or false [B], are at their start."""
        stays = ~np.broadcast_to(np.asarray(where, np.bool_), len(self.state))[:, np.newaxis]
        return Carry(self.state * stays, self.previous * stays)

    def after(self, state: Floats, action: Integers) -> "Carry":
        """Return the carry after a step with the state after it and its actions [B], counted from 0."""
        previous = np.zeros_like(self.previous)
        if previous.size:
            previous[np.arange(len(action)), action] = 1.0
        return Carry(state, previous)


def start(count: int, sizes: tuple[int, int]) -> Carry:
    """Return the carry at the start of `count` episodes; `sizes` are C and A + 1 or 0."""
    return Carry(*(np.zeros((count, size), np.float32) for size in sizes))


def check_carry(carry: Any, count: int, sizes: tuple[int, int]) -> None:
    """Raise ValueError unless `carry` is that of `count` episodes of a network with these sizes."""
    if carry is None:
        raise ValueError(f"carry: should be given, {GIVE}; the policy remembers its episode (network.core)")
    if not isinstance(carry, Carry):
        raise ValueError(f"carry: should be a Carry, {GIVE}, not {type(carry).__name__}")
    if (carry.state.shape[-1], carry.previous.shape[-1]) != sizes:
        raise ValueError(f"carry: should be this policy's, {GIVE}; it is that of another network")
    if len(carry.state) != count:
        advice = f"policy.start({count}) begins as many"
        raise ValueError(f"carry: should be of {count} episodes, as obs is, not {len(carry.state)}; {advice}")


def previous_steps(carry: Carry, reward: Any, learned: Callable[[ArrayLike], Floats]) -> Floats:
    """Return the previous actions, one-hot, and rewards as the network reads them [B, A + 1], or [B, 0].

    Args:
        carry: a checked carry.
        reward: the rewards of the environment's latest step, one number or [B]; those of episodes at their
            start are not read, and None will do if all are.
        learned: returns rewards as they are learned from.

    Raises:
        ValueError: the rewards are missing or wrong, or the network does not see them.
    """
    if not carry.previous.shape[-1]:
        if reward is not None:
            raise ValueError("reward: should be left out; the network sees none (network.sees_action=false)")
        return carry.previous
    goes_on = carry.previous[:, :-1].any(-1)
    if reward is None and goes_on.any():
        should = "should be given as policy(obs, carry, reward), that of the latest step"
        raise ValueError(f"reward: {should}; the network sees it (network.sees_action=true)")
    numbers = numbers_of(0.0 if reward is None else reward)
    if numbers is None or numbers.shape not in ((), (len(carry.state),)) or not np.isfinite(numbers).all():
        raise ValueError(
            f"reward: should be a finite number for each of {len(carry.state)} episodes, not {reward}"
        )
    previous = carry.previous.copy()
    previous[:, -1] = np.where(goes_on, learned(numbers), 0.0)
    return previous
