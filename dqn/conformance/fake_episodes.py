"""Made-up steps of environments, all observations different, and what samples of them should be."""

from typing import Any, NamedTuple

import numpy as np

from dqn.conformance.assertions import Failure, require
from dqn.seeding import stream
from dqn.types import EnvSpec, Floats, ObsSpec, Row

SPEC = EnvSpec(ObsSpec((3,), np.dtype(np.float32), 0, 1.0), 3, None)
"""An observation is the seed, the environment and the step."""
NUM_ENVS = 2
STEPS = 150
GAMMA = 0.9


class Step(NamedTuple):
    action: int
    reward: float
    next_obs: tuple[float, ...]
    terminated: bool
    ended: bool


class FakeEpisodes:
    """Steps of NUM_ENVS environments for each of some seeds.

    Those of a seed do not depend on the other seeds.
    """

    def __init__(self, seeds: tuple[int, ...]) -> None:
        self.seeds = seeds
        self.rows: list[Row] = []
        self.steps: dict[tuple[float, ...], Step] = {}
        """Each step by its observation."""
        streams = [stream(seed, "check steps") for seed in seeds]
        names = np.array([[[seed, env, 0] for env in range(NUM_ENVS)] for seed in seeds], np.float32)
        for t in range(STEPS):
            numbers = np.stack([generator.random((NUM_ENVS, 4)) for generator in streams])
            terminated, truncated = numbers[..., 0] < 0.1, (numbers[..., 0] > 0.9)
            ended = terminated | truncated
            obs, next_obs = names.copy(), names.copy()
            obs[..., 2], next_obs[..., 2] = t, np.where(ended, t + 0.5, t + 1)
            action = (3 * numbers[..., 1]).astype(np.int64)
            reward = numbers[..., 2].astype(np.float32)
            active = np.ones_like(ended)
            self.rows.append(Row(obs, action, reward, next_obs, terminated, truncated, active))
            for place in np.ndindex(ended.shape):
                self.steps[key(obs[place])] = Step(
                    *(action[place].item(), reward[place].item(), key(next_obs[place])),
                    *(bool(terminated[place]), bool(ended[place])),
                )

    def check(self, start: Any, reward: float, discount: float, next_obs: Any, span: int) -> None:
        """Check a sample that starts at the observation `start`.

        Raises:
            Failure: it is no sum of the rewards of 1 to `span` steps with the observation after them.
        """
        obs, total, factor = key(start), 0.0, 1.0
        told = f"a sample from step {obs[2]:g} of an environment"
        for m in range(1, span + 1):
            step = self.steps[obs]
            total += factor * step.reward
            factor *= GAMMA
            obs = step.next_obs
            if obs == key(next_obs):
                right = 0.0 if step.terminated else factor
                how = "with its termination" if step.terminated else "without termination"
                text = f"{told} that reads {m} step(s) {how} has discount {discount:.4g}"
                require(abs(discount - right) < 1e-5, f"{text}; it should be {right:.4g}")
                text = f"{told} that reads {m} step(s) has reward {reward:.4g}"
                require(abs(reward - total) < 1e-4, f"{text}; the discounted sum is {total:.4g}")
                return
            if step.ended:
                break
        seen = f"{told} has next_obs {list(key(next_obs))}"
        raise Failure(f"{seen}, which is none of its episode's next {span} observation(s)")


def key(obs: Floats) -> tuple[float, ...]:
    return tuple(obs.tolist())
