"""A custom wrapper. Its signature is the schema of its entry in env.wrappers."""

from typing import Any, SupportsFloat

import gymnasium

from dqn.types import Positive


class StepCost(gymnasium.RewardWrapper[Any, Any]):
    """Subtracts `cost` from the reward of every step."""

    def __init__(self, env: gymnasium.Env[Any, Any], cost: Positive) -> None:
        super().__init__(env)
        self.cost = cost

    def reward(self, reward: SupportsFloat) -> float:
        return float(reward) - self.cost
