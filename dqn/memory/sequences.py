"""The reader of windows: successive steps of an episode, for recurrent networks."""

from typing import NamedTuple

import numpy as np

from dqn.memory.ring import CLOSING, CONTINUES, HAS_FUTURE, LOST, Ring
from dqn.memory.window_priority import window_priority
from dqn.memory.windows import Windows
from dqn.types import Bools, Floats, Integers, NonNegativeInt, PositiveInt, Probability


class Steps(NamedTuple):
    """Windows as their reader returns them: T transitions after a burn-in, T + 1 observations."""

    rows: Integers  # [K, burn_in + T + 1, B], index of each observation's row
    exists: Bools  # [K, burn_in, B], False before the first row of the episode
    valid: Bools  # [K, T, B], False after the end of the episode
    reward: Floats  # [K, T, B], float32
    discount: Floats  # [K, T, B], float32
    following: Integers  # [K, T, B], step of the next observation, 0 to T
    carry: Floats | None  # [K, B, carry_size], stored before the first row; None: zeros


class Sequences:
    """Windows of `length` steps of an episode, which begin at every `period` steps.

    Kapturowski et al. (2019). A window ends with its episode; steps after that are padding without weight.
    Before a window, `burn_in` steps are played without learning, or as many as the episode has, to bring the
    network's carry up to date. Returns sum n rewards, fewer at the end of a window, which bootstrap from its
    last observation.

    Args:
        length: steps that a window learns from, T.
        period: steps between the starts of two windows.
        burn_in: steps before a window that are played without learning.
        stored_state: start with the carry of acting, as stored; False: with zeros, as in Hausknecht and Stone
            (2015).
        n_step: n of the returns.
        eta: share of the largest priority of a window's steps in that of the window; the rest is their mean.
        gamma: discount of one step.
    """

    def __init__(
        self,
        *,
        length: PositiveInt,
        period: PositiveInt,
        burn_in: NonNegativeInt,
        stored_state: bool,
        n_step: PositiveInt,
        eta: Probability,
        gamma: float,
    ) -> None:
        self.span, self.period, self.burn_in = length, period, burn_in
        self.stored_state, self.n_step, self.eta, self.gamma = stored_state, n_step, eta, gamma

    def windows(self, carry_size: int) -> Windows:
        """Return how windows lie in an episode, for a network with carries of this size."""
        return Windows(self.period, self.burn_in, carry_size if self.stored_state else 0)

    def __call__(self, ring: Ring, start: Integers) -> Steps:
        """Return the windows that start at the rows `start` [K, B]."""
        learned = around(ring, start, 0, self.span)
        end = ring.end.take(learned[:, :-1])
        valid = before_end(end)
        learned = np.take_along_axis(learned, last_valid(valid), 1)
        reward, discount, following = self._returns(ring.reward.take(learned[:, :-1]), end)
        earlier, exists = ring.frames(start, self.burn_in + 2)
        before, inside = np.moveaxis(earlier[..., 1:-1], -1, 1), np.moveaxis(exists[..., 1:-1], -1, 1)
        carry = None
        if ring.carries is not None:
            column = start // ring.rows
            written = ring.written[column]
            age = (written - earlier[..., 1]) % ring.rows
            carry = ring.carries.take(column, written - age)
            carry[~exists[..., 0]] = 0.0  # the window begins with the episode
        return Steps(np.concatenate((before, learned), 1), inside, valid, reward, discount, following, carry)

    def _returns(self, reward: Floats, end: Integers) -> tuple[Floats, Floats, Integers]:
        """Return the sums of rewards, discounts and next steps [K, T, B], as NStep does within windows."""
        last = np.broadcast_to(np.arange(self.span)[:, None], reward.shape)
        total: Floats = reward.astype(np.float64)
        discount: Floats = np.full(reward.shape, self.gamma)
        for _ in range(self.n_step - 1):
            continues = (last < self.span - 1) & (np.take_along_axis(end, last, 1) == CONTINUES)
            last = np.where(continues, last + 1, last)
            total = total + np.where(continues, discount * np.take_along_axis(reward, last, 1), 0.0)
            discount = np.where(continues, discount * self.gamma, discount)
        discount = discount * HAS_FUTURE.take(np.take_along_axis(end, last, 1))
        return total.astype(np.float32), discount.astype(np.float32), last + 1

    def previous(self, ring: Ring, rows: Integers) -> Floats:
        """Return the action, one-hot, and the reward before `rows` [*], [*, A + 1].

        They are zeros at the first row of an episode.
        """
        earlier = ring.before(rows, 1)
        seen: Floats = np.zeros((*rows.shape, ring.num_actions + 1), np.float32)
        np.put_along_axis(seen, ring.action.take(earlier).astype(np.int64)[..., None], 1.0, -1)
        seen[..., -1] = ring.reward.take(earlier)
        seen[ring.end.take(earlier) == CLOSING] = 0.0
        return seen

    def priority(self, ring: Ring, start: Integers, error: Floats) -> Floats:
        """Return the priorities of the windows at `start` [K, B] by the errors of their steps [K, T * B]."""
        valid = before_end(ring.end.take(around(ring, start, 0, self.span - 1)))
        return window_priority(error.reshape(valid.shape), valid, self.eta)


def around(ring: Ring, row: Integers, first: int, last: int) -> Integers:
    """Return the rows from `first` to `last` after `row` [K, B], [K, last - first + 1, B]."""
    position = row % ring.rows
    offsets = np.arange(first, last + 1)[:, None]
    return (row - position)[:, None] + (position[:, None] + offsets) % ring.rows


def before_end(end: Integers) -> Bools:
    """Return which of the steps of windows belong to the episode, given the `end` of their rows [K, T, B]."""
    over = np.cumsum((end != CONTINUES) & (end != LOST), axis=1) > 0
    return np.concatenate((np.ones_like(over[:, :1]), ~over[:, :-1]), 1)


def last_valid(valid: Bools) -> Integers:
    """Return the steps [K, T + 1, B] of a window, which after the end of its episode repeat the last one."""
    count = valid.sum(1, keepdims=True)
    step: Integers = np.minimum(np.arange(valid.shape[1] + 1)[:, None], count)
    return step
