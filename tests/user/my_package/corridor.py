"""A custom environment."""

from typing import Any

import gymnasium
from gymnasium import spaces


class Corridor(gymnasium.Env[int, int]):
    """Cells from 1 to `length`: action 1 moves right, action 0 left; reaching the last one gives reward 1."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.observation_space = spaces.Discrete(length, start=1)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.cell = 1
        return self.cell, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.cell = max(1, self.cell + (1 if action else -1))
        ended = self.cell == self.length
        return self.cell, float(ended), ended, False, {}
