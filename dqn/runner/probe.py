"""A short test, before training, of whether the seed determines what an environment does."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from dqn.env import Environments, given_mask, valid_action
from dqn.process import preserve_settings
from dqn.seeding import integer
from dqn.types import Array

STEPS = 8
"""Steps that are compared at most."""
NAMES = ("observation", "reward", "terminated", "truncated", "action mask")


Results = tuple[Array, ...]
"""The values NAMES of a reset or a step."""


class Findings(NamedTuple):
    """The results of the test."""

    ignored_seed: str | None
    """How two new environments with one seed and the same actions differ; None if they are equal."""
    unused_mask: bool
    """True if the info of a step has a mask of the valid actions, but env.action_mask is null."""


def probe(env: Environments, seed: int) -> Findings:
    """Play in two new environments with one seed and the same actions.

    This process's settings and the global generators of Python, NumPy and torch stay as they were.
    """
    with preserve_settings(), preserved_generators():
        (one, info), (other, _) = (play(env, integer(seed, "probe")) for _ in range(2))
    gives_mask = given_mask("info", None, info) is not None
    return Findings(difference(one, other), gives_mask and not env.spec.has_mask)


def difference(one: list[Results], other: list[Results]) -> str | None:
    """Return how the results of two plays differ; None if they are equal."""
    for t, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        for name, value, again in zip(NAMES, mine, theirs, strict=True):
            if not np.array_equal(value, again):
                when = f"of step {t}" if t else "at reset"
                return f"the {name} {when} differs between two environments with one seed"
    return None


def play(env: Environments, seed: int) -> tuple[list[Results], Any]:
    """Return the results of a reset and an episode's steps in one new environment, and the info of a step."""
    random.random()  # a process that is started for an environment inherits the generators' states
    np.random.random()  # noqa: NPY002
    torch.rand(())
    column, one = env.columns(1, infos=True), np.ones(1, np.bool_)

    def masks() -> Array:
        """Return the valid actions [1, A]."""
        return np.ones((1, env.spec.num_actions), np.bool_) if column.mask is None else column.mask.copy()

    try:
        results: list[Results] = [(column.reset(one, [seed]).copy(), one, one, one, masks())]
        for t in range(STEPS):
            action = valid_action(masks()[0], t % env.spec.num_actions)
            obs, reward, terminated, truncated = column.step(np.array([action]))
            results.append((obs.copy(), reward, terminated, truncated, masks()))
            if terminated | truncated:
                break
    finally:
        column.close()
    return results, column.infos[0]


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Restore the states of the global random number generators at the end."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
