"""A Markov decision process with known values: `env.module=dqn.conformance.chain env.id=dqn/Chain-v0`."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class Chain(gymnasium.Env[Any, Any]):
    """A slippery walk over five states; the ends terminate with rewards, so its values are known exactly.

    Action 1 moves right with probability 0.9 and left otherwise, action 0 vice versa. Leaving at the left end
    gives the reward 0.5, at the right end 1.

    Args:
        shape: shape of observations of random bytes, one for each state; None observes the state's number.
    """

    STATES = 5
    SUCCESS, LEFT, RIGHT = 0.9, 0.5, 1.0
    observation_space: spaces.Space[Any] = spaces.Discrete(STATES)
    action_space: spaces.Space[Any] = spaces.Discrete(2)

    def __init__(self, shape: Sequence[int] | None = None) -> None:
        self.patterns: NDArray[np.integer[Any]] = np.arange(self.STATES)
        """Observations of the states."""
        if shape is not None:
            self.observation_space = spaces.Box(0, 255, tuple(shape), np.uint8)
            generator = np.random.Generator(np.random.PCG64(0))
            self.patterns = generator.integers(256, size=(self.STATES, *shape)).astype(np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(self.STATES))
        return self.observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        right = (self.np_random.random() < self.SUCCESS) == bool(action)
        next_state = self.state + (1 if right else -1)
        if next_state in (-1, self.STATES):
            return self.observation(), self.RIGHT if right else self.LEFT, True, False, {}
        self.state = next_state
        return self.observation(), 0.0, False, False, {}

    def observation(self) -> Any:
        """Return the observation of the state, a new array."""
        return self.patterns[self.state].copy()

    @classmethod
    def optimal_values(cls, gamma: float) -> NDArray[np.float64]:
        """Return the optimal action values [states, actions] by value iteration."""
        q = np.zeros((cls.STATES, 2))
        for _ in range(2000):
            q = cls.backup(q.max(1), gamma)
        return q

    @classmethod
    def backup(cls, v: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
        """Return the action values [states, actions] if the states' values are v [states]."""
        left = np.concatenate(([cls.LEFT], gamma * v[:-1]))
        right = np.concatenate((gamma * v[1:], [cls.RIGHT]))
        intended = np.stack((left, right), axis=1)
        return cls.SUCCESS * intended + (1 - cls.SUCCESS) * intended[:, ::-1]


gymnasium.register("dqn/Chain-v0", "dqn.conformance.chain:Chain")
