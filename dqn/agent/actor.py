"""The actor: the one way to act, in training, evaluation, videos and trained policies."""

from collections.abc import Callable
from typing import Any

import numpy as np

from dqn.agent.recall import Recall
from dqn.agent.rng import NumpyRng
from dqn.seeding import Uniforms
from dqn.types import Array, Bools, Floats, Integers


class Actor:
    """Acts epsilon-greedily in E environments of each of K seeds; `Policy.actor` makes it.

    Args:
        q_values: maps observations [K, E, ...] and an rng to action values [K, E, A]; a `Recall` remembers
            the earlier ones of each episode.
        num_actions: A.
        stack: frames that the network reads together; it keeps the earlier ones of each environment.
        padding: the frame before the first of an episode in a stack.
        exploration: two numbers in [0, 1) for each environment, [K, E, 2]: whether to explore, and the random
            action; None: the actor is greedy.
        noise: rng of the network; None if it uses none.
    """

    def __init__(
        self,
        *,
        q_values: Callable[[Array, NumpyRng | None], Floats],
        num_actions: int,
        stack: int,
        padding: Array | int,
        exploration: Uniforms | None,
        noise: NumpyRng | None,
    ) -> None:
        self.q_values, self.num_actions = q_values, num_actions
        self.exploration, self.noise = exploration, noise
        self._stack, self._padding = stack, padding
        self._frames: Array | None = None
        """The latest frames of each environment [K, E, stack, ...], none before the first step."""
        self._starting: Bools | None = None

    def start(self, where: Bools) -> None:
        """Take the next frames of the environments `where` [K, E] as the first of their episodes."""
        if isinstance(self.q_values, Recall):
            self.q_values.start(where)
        self._starting = where if self._starting is None else self._starting | where

    @property
    def carry(self) -> Floats | None:
        """Return a recurrent network's carry before the latest step [K, E, C], None for another network."""
        return self.q_values.before if isinstance(self.q_values, Recall) else None

    def acted(self, action: Integers, reward: Floats) -> None:
        """Take note of the actions of the latest step and of their rewards, both [K, E]."""
        if isinstance(self.q_values, Recall):
            self.q_values.acted(action, reward)

    def _stacked(self, frame: Array) -> Array:
        """Return the latest frames of each environment [K, E, stack, ...], padding before its episode."""
        if self._frames is None:
            self._frames = np.empty((*frame.shape[:2], self._stack, *frame.shape[2:]), frame.dtype)
            self._frames[:] = self._padding
        frames = self._frames
        frames[:, :, :-1] = frames[:, :, 1:]
        if self._starting is not None:
            frames[self._starting] = self._padding
            self._starting = None
        frames[:, :, -1] = frame
        return frames

    def act(
        self,
        obs: Array,
        epsilon: float = 0.0,
        playing: Bools | None = None,
        mask: Bools | None = None,
    ) -> Integers:
        """Return actions [K, E]: uniformly random with probability epsilon, otherwise the first of the best.

        Args:
            obs: observations [K, E, ...], single frames; each call is the next step of every environment.
            epsilon: probability of a random action.
            playing: whether any environment of a seed is running [K]; a seed that waits draws no random
                numbers. None: all are running.
            mask: the valid actions [K, E, A], at least one of each environment; None: all are valid.

        Raises:
            ValueError: epsilon is positive, but the actor is greedy.
        """
        if self._stack > 1:
            obs = self._stacked(obs)
        if playing is None:
            playing = np.ones(len(obs), np.bool_)
        if self.noise is not None:
            self.noise.using = playing
        if self.exploration is None:
            if epsilon > 0:
                raise ValueError(f"epsilon is {epsilon}, but the actor is greedy: make it with `exploration`")
            return self._greedy(obs, mask)
        uniforms: Floats = self.exploration.next(playing)
        explores = uniforms[..., 0] < epsilon
        count = np.count_nonzero(explores)
        if count == 0:
            return self._greedy(obs, mask)
        random = chosen(uniforms[..., 1], self.num_actions, mask)
        if count == explores.size and self.noise is None and not isinstance(self.q_values, Recall):
            return random  # but noise is drawn regardless of other seeds, and a recurrent network remembers
        return np.where(explores, random, self._greedy(obs, mask))

    def _greedy(self, obs: Array, mask: Bools | None) -> Integers:
        return best(self.q_values(obs, self.noise), mask)

    def state_dict(self) -> dict[str, Any]:
        parts = {"exploration": self.exploration, "noise": self.noise}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            KeyError: the state is of an actor without `exploration` or `noise`, which this one has.
        """
        if self.exploration is not None:
            self.exploration.load_state_dict(state["exploration"])
        if self.noise is not None:
            self.noise.load_state_dict(state["noise"])


def best(q: Floats, mask: Bools | None) -> Integers:
    """Return the first valid action of the largest value in q [*, A]; without a mask all are valid."""
    if mask is not None:  # no value of a valid action is as low as -inf, not even after learning diverged
        q = np.where(mask, np.maximum(q, np.finfo(q.dtype).min), -np.inf)
    first: Integers = q.argmax(-1)
    return first


def chosen(uniforms: Floats, num_actions: int, mask: Bools | None) -> Integers:
    """Return an action for each number in [0, 1) [*], uniform among all or among the valid ones [*, A]."""
    if mask is None:
        return (uniforms * num_actions).astype(np.int64)
    number = (uniforms * mask.sum(-1)).astype(np.int64)
    action: Integers = (mask.cumsum(-1) > number[..., np.newaxis]).argmax(-1)
    return action
