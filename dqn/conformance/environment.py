"""Checks of custom environments and wrappers."""

import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.utils.env_checker import check_env

from dqn.conformance.assertions import NotApplicable, require
from dqn.conformance.candidate import Candidate
from dqn.env import MASK, Guard, MaskSource, adapt, close, given_mask, valid_action
from dqn.seeding import stream

STEPS = 200


def environment(candidate: Candidate) -> None:
    """Check the interface with Gymnasium's own checker, and that the seed determines everything."""
    factory = candidate.factory
    mask = factory.action_mask
    env = factory.make_registered()
    try:
        is_custom = not str(env.spec.entry_point if env.spec else "").startswith("gymnasium.")
        if not (is_custom or factory.wrappers or factory.training_wrappers):
            raise NotApplicable(f"{factory.id} is Gymnasium's own")
        if is_custom:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # advice, such as on the limits of spaces
                plain = env.unwrapped
                check_env(ValidActions(plain, mask) if mask else plain, skip_render_check=True)
    finally:
        close(env, factory.id)
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


class ValidActions(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Takes a valid action instead of any other; Gymnasium's checker knows of no masks."""

    def __init__(self, env: gymnasium.Env[Any, Any], source: MaskSource) -> None:
        RecordConstructorArgs.__init__(self, source=source)  # for the checker, which makes it again
        gymnasium.Wrapper.__init__(self, env)
        self._source = source

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        obs, info = self.env.reset(seed=seed, options=options)
        self._mask = given_mask(self._source, obs, info)
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        space: Any = self.env.action_space
        valid = space.start + valid_action(self._mask, int(action - space.start))
        obs, reward, terminated, truncated, info = self.env.step(valid)
        self._mask = given_mask(self._source, obs, info)
        return obs, reward, terminated, truncated, info


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
