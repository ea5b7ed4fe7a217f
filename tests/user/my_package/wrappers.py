"""A custom wrapper."""

from typing import Any

import gymnasium

from dqn.types import Probability


class Sticky(gymnasium.ActionWrapper[Any, Any, Any]):
    """Repeats the previous action with `probability`, in place of the agent's."""

    def __init__(self, env: gymnasium.Env[Any, Any], probability: Probability) -> None:
        super().__init__(env)
        self.probability = probability

    def reset(self, **options: Any) -> Any:
        self.previous = None
        return super().reset(**options)

    def action(self, action: Any) -> Any:
        if self.previous is None or self.np_random.random() >= self.probability:
            self.previous = action
        return self.previous
