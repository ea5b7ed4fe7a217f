"""The export of a run's policy to a file, checked on observations of its environment."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dqn.config.options import ExportOptions
from dqn.config.read import load_policy, read_run
from dqn.config.wrappers import make_environments
from dqn.deploy.export import export
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.env import Environments
from dqn.runner.clock import whole_rounds
from dqn.runner.collector import Collector
from dqn.seeding import Uniforms, stream
from dqn.types import Array

NUM_OBS = 1000
"""Observations to check the file on."""


def export_run(path: Path, file: Path, options: ExportOptions, trust: Sequence[str]) -> str:
    """Write the policy of a seed to a file; return a text with its input, output and accuracy.

    Raises:
        UserError: the folder has no valid run or lacks the policy, or the file cannot be written.
    """
    config, folder = read_run(path, trust)
    on_cpu = {**config, "device": "cpu"}  # where the file is checked
    policy = load_policy(on_cpu, folder, options.seed, options.policy)
    obs = play(policy, make_environments(config["env"]))
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


def play(policy: GreedyPolicy, make_env: Callable[..., Environments]) -> Array:
    """Return observations [NUM_OBS, ...], as the network reads them; half of the actions are random."""
    seeds = [policy.seed]
    env = make_env(num_envs=1, vectorization="sync", seeds=seeds, role="export", training=False)
    exploration = Uniforms([stream(policy.seed, "export exploration")], (1, 2))
    actor = policy.policy.actor(exploration=exploration)
    collector = Collector(env=env, actor=actor, ticks=whole_rounds)
    try:
        collector.start(0)
        return np.concatenate([collector.collect(0.5, NUM_OBS + 1).row.obs[0] for _ in range(NUM_OBS)])
    finally:
        env.close()
