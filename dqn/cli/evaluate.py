"""The evaluation of a run folder by its policy alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dqn.config.build import build_policy, make_camera
from dqn.config.compose import mistakes
from dqn.config.trust import load_config
from dqn.config.validate import check
from dqn.deploy.load import load_policies, wrong_policy
from dqn.errors import format_value
from dqn.runner.evaluator import Evaluator
from dqn.stats import interquartile_mean
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import RunFolder

OPTIONS: dict[str, Any] = {"episodes": 100, "epsilon": 0.0, "stream": 0, "policy": "last", "video": None}


def evaluate_run(path: Path, options: dict[str, Any], trust: Sequence[str]) -> dict[str, Any]:
    """Return the returns of fresh episodes of every seed, their statistics, and a text that tells them.

    Args:
        path: the run folder.
        options: episodes per seed, epsilon, stream, which chooses the episodes, policy: last, or best (that
            of each seed's highest periodic evaluation), and video, an .mp4 file of the first seed.
        trust: packages of the user's own that the run may name.

    Raises:
        UserError: the folder or an option is not as it should be.
    """
    given = check_options(options)
    folder = RunFolder(path)
    config = load_config(folder, trust)
    check(config, learns=False).raise_if_any()
    camera = make_camera(config)
    if given["video"] is not None:
        camera.check()
    policy, make_env, seeds = build_policy(config)
    checkpoint = Checkpoint(folder.path)
    iterations, selected = load_policies(
        policy, checkpoint, given["policy"], count=len(seeds), rows=slice(None)
    )
    evaluator = Evaluator(
        make_env=make_env,
        seeds=seeds,
        episodes=given["episodes"],
        epsilon=given["epsilon"],
        purpose="evaluation",
    )
    returns = evaluator(policy, given["stream"])
    means = {str(seed): float(mean) for seed, mean in zip(seeds, returns.mean(-1), strict=True)}
    lines = [
        f"{returns.size} episodes of {config['env']['id']} after iteration"
        f" {', '.join(map(str, sorted(set(iterations))))}, epsilon {given['epsilon']}:",
        *([f"  {selected}"] if selected else []),
        f"  mean {returns.mean():.2f}, standard deviation {returns.std():.2f},"
        f" lowest {returns.min():.2f}, highest {returns.max():.2f}",
        f"  interquartile mean over seeds {interquartile_mean(list(means.values())):.2f}",
        *(f"  seed {seed}: mean {mean:.2f}" for seed, mean in means.items()),
    ]
    if given["video"] is not None:
        total = camera.film(Path(given["video"]).absolute(), policy, given["stream"])
        lines.append(f"  {given['video']}: a greedy episode of seed {seeds[0]}, return {total:.2f}")
    return {
        "text": "\n".join(lines),
        **given,
        "iteration": dict(zip(means, iterations, strict=True)) if selected else iterations[0],
        **({"selected": selected} if selected else {}),
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "interquartile_mean": interquartile_mean(list(means.values())),
        "seed_means": means,
        "returns": {str(seed): row.tolist() for seed, row in zip(seeds, np.asarray(returns), strict=True)},
    }


def check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return all options, the given ones and the others.

    Raises:
        UserError: there is no such option, or a value is not possible.
    """
    given = OPTIONS | options
    problems = [
        f"{key}={format_value(options[key])}: no such option; there are {', '.join(OPTIONS)}"
        for key in options.keys() - OPTIONS.keys()
    ]
    for key, least in (("episodes", 1), ("stream", 0)):
        value = given[key]
        if isinstance(value, float) and value.is_integer():  # 1e3
            given[key] = int(value)
        if not isinstance(given[key], int) or isinstance(value, bool) or value < least:
            problems.append(f"{key}={format_value(value)}: should be a whole number of at least {least}")
    epsilon = given["epsilon"]
    if not isinstance(epsilon, int | float) or isinstance(epsilon, bool) or not 0 <= epsilon <= 1:
        problems.append(f"epsilon={format_value(epsilon)}: should be between 0 and 1")
    if problem := wrong_policy(given["policy"]):
        problems.append(problem)
    video = given["video"]
    if video is not None and not (isinstance(video, str) and video.endswith(".mp4")):
        problems.append(f"video={format_value(video)}: should be an .mp4 file")
    elif video is not None and not Path(video).absolute().parent.is_dir():
        problems.append(f"video={video}: its folder should be there")
    if problems:
        raise mistakes(problems, "the command")
    return given
