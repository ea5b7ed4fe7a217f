"""The actor: the one way to act, in training, evaluation, videos and trained policies."""

from collections.abc import Callable
from typing import Any

import numpy as np

from dqn.agent.rng import NumpyRng
from dqn.seeding import Uniforms
from dqn.types import Array, Bools, Floats, Integers


class Actor:
    """Acts epsilon-greedily by a policy in E environments of each of K seeds.

    It holds what acting needs beyond the parameters; `Policy.actor` makes it.

    Args:
        q_values: action values [K, E, A] of observations [K, E, ...] and of noise.
        num_actions: A.
        exploration: two numbers in [0, 1) for each environment, [K, E, 2]: whether to explore, and which
            action then; None: the actor is greedy.
        noise: random numbers for a network that uses some; None: it uses none.
    """

    def __init__(
        self,
        *,
        q_values: Callable[[Array, NumpyRng | None], Floats],
        num_actions: int,
        exploration: Uniforms | None,
        noise: NumpyRng | None,
    ) -> None:
        self.q_values, self.num_actions = q_values, num_actions
        self.exploration, self.noise = exploration, noise

    def act(self, obs: Array, epsilon: float = 0.0, playing: Bools | None = None) -> Integers:
        """Return actions [K, E]: any action with probability epsilon, otherwise the first of the best.

        Args:
            obs: observations [K, E, ...].
            epsilon: the probability of a random action.
            playing: the seeds [K] with an environment that is not paused; the others use up no random
                numbers. None: all.

        Raises:
            ValueError: epsilon is positive and the actor is greedy.
        """
        if self.noise is not None:
            self.noise.using = np.ones(len(obs), bool) if playing is None else playing
        if self.exploration is None:
            if epsilon > 0:
                raise ValueError("a greedy actor has no random numbers to explore with")
            return self._greedy(obs)
        uniforms: Floats = self.exploration.next(np.ones(len(obs), bool) if playing is None else playing)
        explores = uniforms[..., 0] < epsilon
        count = np.count_nonzero(explores)
        if count == 0:
            return self._greedy(obs)
        random: Integers = (uniforms[..., 1] * self.num_actions).astype(np.int64)
        if count == explores.size and self.noise is None:  # noise is drawn whatever other seeds do
            return random
        return np.where(explores, random, self._greedy(obs))

    def _greedy(self, obs: Array) -> Integers:
        best: Integers = self.q_values(obs, self.noise).argmax(-1)
        return best

    def state_dict(self) -> dict[str, Any]:
        parts = {"exploration": self.exploration, "noise": self.noise}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where `state_dict` was.

        Raises:
            KeyError: the state is of an actor without such random numbers.
        """
        if self.exploration is not None:
            self.exploration.load_state_dict(state["exploration"])
        if self.noise is not None:
            self.noise.load_state_dict(state["noise"])
