"""The export of a run's policy to a file, checked on observations of its environment."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dqn.agent.rng import NumpyRng
from dqn.config.options import ExportOptions
from dqn.config.read import load_policy, read_run
from dqn.config.wrappers import make_environments
from dqn.deploy.export import export
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.env import Environments
from dqn.runner.clock import whole_rounds
from dqn.runner.collector import Collector
from dqn.seeding import Uniforms, stream
from dqn.types import Array, Bools, Floats

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
    obs, mask = play(policy, make_environments(config["env"]))
    difference = export(policy, file, obs, mask)
    shape, stack = ", ".join(map(str, ("B", *policy.obs.stacked_shape))), policy.obs.stack
    num_actions = policy.policy.num_actions
    masks = invalid = ""
    if mask is not None:
        masks, invalid = f" and masks [B, {num_actions}] of bool", ", -inf for invalid actions"
    lines = [
        f"{file}: observations [{shape}] of {policy.obs.dtype}{masks} to action values"
        f" [B, {num_actions}]{invalid}, by the network of seed {policy.seed}"
        f" after iteration {policy.iteration}",
        *([f"  each is the latest {stack} of an episode, the newest last"] if stack > 1 else []),
        *([f"  {policy.selected}"] if policy.selected else []),
        f"  greatest difference from the policy on {NUM_OBS:,} observations of {config['env']['id']}:"
        f" {difference:.2g}",
    ]
    return "\n".join(lines)


def play(policy: GreedyPolicy, make_env: Callable[..., Environments]) -> tuple[Array, Bools | None]:
    """Return observations [NUM_OBS, ...], as the network reads them, and their masks [NUM_OBS, A].

    Half of the actions are random. The masks are None if the environment gives none.
    """
    seen: list[Array] = []
    masks: list[Bools] = []

    def q_values(obs: Array, noise: NumpyRng | None) -> Floats:
        seen.append(obs[0].copy())
        return policy.policy.q_values(obs, noise)

    seeds = [policy.seed]
    env = make_env(num_envs=1, vectorization="sync", seeds=seeds, role="export", training=False)
    exploration = Uniforms([stream(policy.seed, "export exploration")], (1, 2))
    actor = policy.policy.actor(exploration=exploration)
    actor.q_values = q_values
    collector = Collector(env=env, actor=actor, ticks=whole_rounds)
    try:
        collector.start(0)
        while len(seen) < NUM_OBS:
            mask = collector.collect(0.5, NUM_OBS).row.mask
            if mask is not None and len(masks) < len(seen):
                masks.append(mask[0])
        return np.concatenate(seen), np.concatenate(masks) if masks else None
    finally:
        env.close()
