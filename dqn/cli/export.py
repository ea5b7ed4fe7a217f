"""The export of a run's policy to a file, checked on observations of its environment."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dqn.agent.recall import Recall
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
from dqn.types import Array, Bools

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
    inputs = play(policy, make_environments(config["env"]))
    difference = export(policy, file, inputs)
    shape, stack = ", ".join(map(str, ("B", *policy.obs.stacked_shape))), policy.obs.stack
    num_actions = policy.policy.num_actions
    masks = invalid = ""
    if "mask" in inputs:
        masks, invalid = f" and masks [B, {num_actions}] of bool", ", -inf for invalid actions"
    carry_size, _ = policy.policy.network.memory_sizes
    memory = [
        f"  takes `carry` [B, {carry_size}], zeros at the start of an episode, and returns `next_carry`"
    ]
    if "previous" in inputs:
        clip, scale = config["env"]["reward_clip"], config["env"]["reward_scale"]
        learned = f"clipped by {clip} and times {scale}" if clip is not None else f"times {scale}"
        memory += [
            f"  takes `previous` [B, {num_actions + 1}]: the previous action, one-hot, and its reward,"
            f" {learned}; zeros at the start"
        ]
    lines = [
        f"{file}: observations [{shape}] of {policy.obs.dtype}{masks} to action values"
        f" [B, {num_actions}]{invalid}, by the network of seed {policy.seed}"
        f" after iteration {policy.iteration}",
        *([f"  each is the latest {stack} of an episode, the newest last"] if stack > 1 else []),
        *(memory if policy.policy.is_recurrent else []),
        *([f"  {policy.selected}"] if policy.selected else []),
        f"  greatest difference from the policy on {NUM_OBS:,} observations of {config['env']['id']}:"
        f" {difference:.2g}",
    ]
    return "\n".join(lines)


def play(policy: GreedyPolicy, make_env: Callable[..., Environments]) -> dict[str, Array]:
    """Return NUM_OBS played inputs of the network, by name; half of the actions are random."""
    seen: list[tuple[Array, ...]] = []
    masks: list[Bools] = []

    def forward(obs: Array, rng: NumpyRng | None = None, memory: Sequence[Array] = ()) -> Any:
        seen.append(tuple(array[0].copy() for array in (obs, *memory)))
        return policy.policy.forward(obs, rng, memory)

    seeds, sizes = [policy.seed], policy.policy.network.memory_sizes
    env = make_env(num_envs=1, vectorization="sync", seeds=seeds, role="export", training=False)
    exploration = Uniforms([stream(policy.seed, "export exploration")], (1, 2))
    actor = policy.policy.actor(exploration=exploration)
    recall = Recall(forward, carry_size=sizes[0], previous_size=sizes[1])
    actor.q_values = recall if policy.policy.is_recurrent else forward
    collector = Collector(env=env, actor=actor, ticks=whole_rounds)
    try:
        collector.start(0)
        while len(seen) < NUM_OBS:
            mask = collector.collect(0.5, NUM_OBS).row.mask
            if mask is not None and len(masks) < len(seen):
                masks.append(mask[0])
    finally:
        env.close()
    arrays = [np.concatenate(parts) for parts in zip(*seen, strict=True)]
    named = dict(zip(("obs", "carry", "previous"), arrays, strict=False))
    inputs = {name: array for name, array in named.items() if array.shape[-1] or name == "obs"}
    return inputs | ({"mask": np.concatenate(masks)} if masks else {})
