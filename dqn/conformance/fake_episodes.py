"""Made-up episodes in which all observations differ, and assertions on samples of them."""

from typing import NamedTuple

import numpy as np

from dqn.conformance.assertions import Failure, require
from dqn.seeding import stream
from dqn.types import EnvSpec, Floats, ObsSpec, Row

SPEC = EnvSpec(ObsSpec((3,), np.dtype(np.float32), 0, 1.0), 3, None)
"""Spec of the episodes; an observation consists of the seed, the environment and the step."""
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
    """Episodes in NUM_ENVS environments of each seed; those of a seed do not depend on the other seeds.

    Attributes:
        rows: all environments' steps, in the form that memory takes.
        steps: the same steps by their observations.
    """

    def __init__(self, seeds: tuple[int, ...]) -> None:
        self.rows: list[Row] = []
        self.steps: dict[tuple[float, ...], Step] = {}
        streams = [stream(seed, "check steps") for seed in seeds]
        names = np.array([[[seed, env, 0] for env in range(NUM_ENVS)] for seed in seeds], np.float32)
        for t in range(STEPS):
            numbers = np.stack([generator.random((NUM_ENVS, 4)) for generator in streams])
            terminated, truncated = numbers[..., 0] < 0.1, numbers[..., 0] > 0.9
            ended = terminated | truncated
            obs, next_obs = names.copy(), names.copy()
            obs[..., 2], next_obs[..., 2] = t, np.where(ended, t + 0.5, t + 1)
            action = (3 * numbers[..., 1]).astype(np.int64)
            reward = numbers[..., 2].astype(np.float32)
            self.rows.append(
                Row(obs, action, reward, next_obs, terminated, truncated, active=np.ones_like(ended))
            )
            for at in np.ndindex(ended.shape):
                self.steps[key(obs[at])] = Step(
                    action=action[at].item(),
                    reward=reward[at].item(),
                    next_obs=key(next_obs[at]),
                    terminated=bool(terminated[at]),
                    ended=bool(ended[at]),
                )

    def check(self, start: Floats, reward: float, discount: float, next_obs: Floats, span: int) -> None:
        """Check a sample that starts at the observation `start`.

        Raises:
            Failure: it does not sum the rewards of 1 to `span` steps up to the observation `next_obs`.
        """
        obs, total, factor = key(start), 0.0, 1.0
        sample = f"a sample from step {obs[2]:g} of an environment"
        for m in range(1, span + 1):
            step = self.steps[obs]
            total += factor * step.reward
            factor *= GAMMA
            obs = step.next_obs
            if obs == key(next_obs):
                expected = 0.0 if step.terminated else factor
                how = "with its termination" if step.terminated else "without termination"
                text = f"{sample} that reads {m} step(s) {how} has discount {discount:.4g}"
                require(abs(discount - expected) < 1e-5, f"{text}; it should be {expected:.4g}")
                text = f"{sample} that reads {m} step(s) has reward {reward:.4g}"
                require(abs(reward - total) < 1e-4, f"{text}; the discounted sum is {total:.4g}")
                return
            if step.ended:
                break
        found = f"{sample} has next_obs {list(key(next_obs))}"
        raise Failure(f"{found}, which is none of its episode's next {span} observation(s)")


def key(obs: Floats) -> tuple[float, ...]:
    """Return an observation as a key of `steps`."""
    return tuple(obs.tolist())
