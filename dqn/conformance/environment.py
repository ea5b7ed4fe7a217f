"""Checks of custom environments and wrappers."""

import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

from dqn.conformance.assertions import NotApplicable, require
from dqn.conformance.candidate import Candidate
from dqn.env import MASK, Guard, adapt, close, valid_action
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
    mask = factory.action_mask
    wrapped = (factory.make_wrapped(training=True) for _ in range(2))
    guarded = (Guard(env, id=factory.id, full_steps=STEPS, action_mask=mask) for env in wrapped)
    one, other = (
        play(adapt(env, scale_bytes=factory.scale_bytes, action_mask=mask), has_mask=mask is not None)
        for env in guarded
    )
    for t, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        for name, value, again in zip(
            ("obs", "reward", "terminated", "truncated", "action_mask"), mine, theirs, strict=True
        ):
            text = f"{name} of step {t} is {value} and, with the same seed and actions, {again};"
            require(np.array_equal(value, again), f"{text} randomness should come from self.np_random alone")


def play(env: gymnasium.Env[Any, Any], *, has_mask: bool) -> list[tuple[Any, ...]]:
    """Return observation, reward, ends and mask of each of STEPS random valid actions."""
    generator = stream(0, "check actions")
    obs, info = env.reset(seed=1)
    mask = info[MASK] if has_mask else None
    steps: list[tuple[Any, ...]] = [(np.array(obs), 0.0, False, False, mask)]
    actions = env.action_space
    assert isinstance(actions, gymnasium.spaces.Discrete)
    for _ in range(STEPS):
        action = valid_action(mask, int(generator.integers(actions.n)))
        obs, reward, terminated, truncated, info = env.step(action)
        mask = info[MASK] if has_mask else None
        steps.append((np.array(obs), float(reward), bool(terminated), bool(truncated), mask))
        if terminated or truncated:
            _, info = env.reset()
            mask = info[MASK] if has_mask else None
    env.close()
    return steps
