"""Checks of custom environments and wrappers."""

import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

from dqn.conformance.assertions import NotApplicable, require
from dqn.conformance.candidate import Candidate
from dqn.env import Guard, adapt, close
from dqn.seeding import stream

STEPS = 200


def environment(candidate: Candidate) -> None:
    """Check the interface with Gymnasium's own checker, and that the seed determines everything."""
    factory = candidate.factory
    env = factory.make_registered()
    try:
        is_custom = not str(env.spec.entry_point if env.spec else "").startswith("gymnasium.")
        if not (is_custom or factory.wrappers or factory.training_wrappers):
            raise NotApplicable(f"{factory.id} is Gymnasium's own")
        if is_custom:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # advice, such as on the limits of spaces
                check_env(env.unwrapped, skip_render_check=True)
    finally:
        close(env, factory.id)
    wrapped = (factory.make_wrapped(training=True) for _ in range(2))
    guarded = (Guard(env, id=factory.id, full_steps=STEPS) for env in wrapped)
    one, other = (play(adapt(env, scale_bytes=factory.scale_bytes)) for env in guarded)
    for t, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        for name, value, again in zip(
            ("obs", "reward", "terminated", "truncated"), mine, theirs, strict=True
        ):
            text = f"{name} of step {t} is {value} and, with the same seed and actions, {again};"
            require(np.array_equal(value, again), f"{text} randomness should come from self.np_random alone")


def play(env: gymnasium.Env[Any, Any]) -> list[tuple[Any, float, bool, bool]]:
    """Return observation, reward and end of each of STEPS random actions."""
    generator = stream(0, "check actions")
    obs, _ = env.reset(seed=1)
    steps: list[tuple[Any, float, bool, bool]] = [(np.array(obs), 0.0, False, False)]
    actions = env.action_space
    assert isinstance(actions, gymnasium.spaces.Discrete)
    for _ in range(STEPS):
        obs, reward, terminated, truncated, _ = env.step(int(generator.integers(actions.n)))
        steps.append((np.array(obs), float(reward), bool(terminated), bool(truncated)))
        if terminated or truncated:
            env.reset()
    env.close()
    return steps
