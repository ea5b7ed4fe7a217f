"""The export of a run's policy, checked on observations of its environment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dqn.config.api import load_policy, read_run
from dqn.config.compose import mistakes
from dqn.config.wrappers import env_factory
from dqn.deploy.export import export
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.deploy.load import wrong_policy
from dqn.env import EnvFactory
from dqn.errors import format_value
from dqn.seeding import stream
from dqn.types import Array

OPTIONS: dict[str, Any] = {"seed": None, "policy": "last"}

NUM_OBS = 1000
"""Observations that the file is checked on."""


def export_run(path: Path, file: Path, options: dict[str, Any], trust: Sequence[str]) -> str:
    """Write the policy of a seed as a file; return a text that tells what it takes and how exact it is.

    Raises:
        UserError: the run, an option or the file is not as it should be.
    """
    given = OPTIONS | options
    problems = [
        f"{key}={format_value(options[key])}: no such option; there are {', '.join(OPTIONS)}"
        for key in options.keys() - OPTIONS.keys()
    ]
    if problem := wrong_policy(given["policy"]):
        problems.append(problem)
    if problems:
        raise mistakes(problems, "the command")
    config, folder = read_run(path, trust)
    policy = load_policy(config, folder, given["seed"], given["policy"])
    obs = play(policy, env_factory(config["env"]))
    difference = export(policy, file, obs)
    shape = ", ".join(map(str, ("B", *policy.obs.shape)))
    lines = [
        f"{file}: observations [{shape}] of {policy.obs.dtype} to action values"
        f" [B, {policy.policy.num_actions}], by the network of seed {policy.seed}"
        f" after iteration {policy.iteration}",
        *([f"  {policy.selected}"] if policy.selected else []),
        f"  greatest difference from the policy on {NUM_OBS:,} observations of {config['env']['id']}:"
        f" {difference:.2g}",
    ]
    return "\n".join(lines)


def play(policy: GreedyPolicy, factory: EnvFactory) -> Array:
    """Return observations [NUM_OBS, ...] as the network reads them, of episodes that are half random."""
    draws = stream(policy.seed, "export")
    env = factory.make(training=False)
    try:
        collected = np.empty((NUM_OBS, *policy.obs.shape), policy.obs.dtype)
        obs, _ = env.reset(seed=int(draws.integers(2**31)))
        for i in range(NUM_OBS):
            collected[i] = obs
            greedy = policy.policy.greedy(collected[np.newaxis, i : i + 1]).item()
            action = greedy if draws.random() < 0.5 else int(draws.integers(policy.policy.num_actions))
            obs, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                obs, _ = env.reset()
        return collected
    finally:
        env.close()
