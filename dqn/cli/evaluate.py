"""The evaluation of a run folder by its policy alone."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dqn.cli.options import EvaluateOptions
from dqn.config.api import read_run
from dqn.config.build import build_policy, make_camera
from dqn.deploy.load import load_policies
from dqn.runner.evaluator import Evaluator
from dqn.stats import interquartile_mean
from dqn.storage.checkpoint import Checkpoint


def evaluate_run(path: Path, options: EvaluateOptions, trust: Sequence[str]) -> dict[str, Any]:
    """Return the returns of fresh episodes of every seed, their statistics, and a text that tells them.

    Args:
        path: the run folder.
        options: how they are evaluated.
        trust: packages of the user's own that the run may name.

    Raises:
        UserError: the folder is not as it should be.
    """
    config, folder = read_run(path, trust)
    camera = make_camera(config)
    if options.video is not None:
        camera.check()
    policy, make_env, seeds = build_policy(config)
    checkpoint = Checkpoint(folder.path)
    iterations, selected = load_policies(
        policy, checkpoint, options.policy, count=len(seeds), rows=slice(None)
    )
    evaluator = Evaluator(
        make_env=make_env,
        seeds=seeds,
        episodes=options.episodes,
        epsilon=options.epsilon,
        role="evaluation",
    )
    returns = evaluator(policy, options.stream)
    means = {str(seed): float(mean) for seed, mean in zip(seeds, returns.mean(-1), strict=True)}
    lines = [
        f"{returns.size} episodes of {config['env']['id']} after iteration"
        f" {', '.join(map(str, sorted(set(iterations))))}, epsilon {options.epsilon}:",
        *([f"  {selected}"] if selected else []),
        f"  mean {returns.mean():.2f}, standard deviation {returns.std():.2f},"
        f" lowest {returns.min():.2f}, highest {returns.max():.2f}",
        f"  interquartile mean over seeds {interquartile_mean(list(means.values())):.2f}",
        *(f"  seed {seed}: mean {mean:.2f}" for seed, mean in means.items()),
    ]
    if options.video is not None:
        total = camera.film(Path(options.video).absolute(), policy, options.stream)
        lines.append(f"  {options.video}: a greedy episode of seed {seeds[0]}, return {total:.2f}")
    return {
        "text": "\n".join(lines),
        **dataclasses.asdict(options),
        "iteration": dict(zip(means, iterations, strict=True)) if selected else iterations[0],
        **({"selected": selected} if selected else {}),
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "interquartile_mean": interquartile_mean(list(means.values())),
        "seed_means": means,
        "returns": {str(seed): row.tolist() for seed, row in zip(seeds, np.asarray(returns), strict=True)},
    }
