"""Wrappers for configurations of tests: `env.wrappers=[{_target_: wrapped.NAME}]`."""

from typing import Any

import gymnasium
import numpy as np


class Noise(gymnasium.RewardWrapper):
    """Adds noise that no seed determines to rewards."""

    def reward(self, reward: Any) -> float:
        return float(reward) + float(np.random.default_rng().normal())


class Late(gymnasium.Wrapper):
    """Fails at the first step."""

    def step(self, action: Any) -> Any:
        raise RuntimeError("too\nlate")


class Longer(gymnasium.ObservationWrapper):
    """Returns longer observations than it declares."""

    def observation(self, observation: Any) -> Any:
        return np.append(observation, observation)


def plus(env: gymnasium.Env, *, amount: float) -> gymnasium.Env:
    """Add `amount` to every reward."""
    return gymnasium.wrappers.TransformReward(env, lambda reward: float(reward) + amount)


def times(env: gymnasium.Env, *, factor: float) -> gymnasium.Env:
    """Multiply every reward by `factor`."""
    return gymnasium.wrappers.TransformReward(env, lambda reward: float(reward) * factor)


def nothing(env: gymnasium.Env) -> None:
    """Forget to return the environment."""
