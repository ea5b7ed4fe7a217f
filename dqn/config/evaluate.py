"""The evaluation of a run's policies."""

import dataclasses
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from dqn.agent import Policy
from dqn.config.api import read_run
from dqn.config.build import build_policy, make_camera
from dqn.config.options import EvaluateOptions
from dqn.config.wrappers import env_factory, make_environments
from dqn.deploy.load import load_policies
from dqn.errors import WrongValue, one_line
from dqn.process import configure_process
from dqn.runner.evaluator import Evaluator
from dqn.stats import interquartile_mean
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import seeds_of
from dqn.tracking.progress import open_progress, waiting
from dqn.types import Floats


def evaluate_run(path: Path, options: EvaluateOptions, trust: Sequence[str]) -> dict[str, Any]:
    """Play fresh episodes with the policies of all seeds; return their returns, statistics and a text.

    Args:
        path: the run folder.
        options: of the evaluation.
        trust: packages that the run may import.

    Raises:
        UserError: the folder has no valid run, or lacks the policies.
    """
    config, folder = read_run(path, trust)
    camera = make_camera(config)
    if options.video is not None:
        camera.check()
    configure_process(config["num_threads"])
    seeds = seeds_of(config)
    policy = build_policy(config, spec=env_factory(config["env"]).spec, seeds=seeds)
    checkpoint = Checkpoint(folder.path)
    iterations, selected = load_policies(policy, checkpoint, options.policy, seeds=seeds, rows=slice(None))
    evaluator = Evaluator(
        make_env=make_environments(config["env"]),
        seeds=seeds,
        episodes=options.episodes,
        epsilon=options.epsilon,
        num_envs=config["runner"]["eval_num_envs"],
        max_steps=config["runner"]["eval_max_steps"],
        role="evaluation",
    )
    returns = watched(evaluator, policy, options.stream)
    names = [str(seed) for seed in seeds]
    means = dict(zip(names, returns.mean(-1).tolist(), strict=True))
    iqm = interquartile_mean(list(means.values()))
    of_seeds = [
        f"  interquartile mean of {len(seeds)} seeds {iqm:.2f}",
        *(f"  seed {seed}: mean {mean:.2f}" for seed, mean in means.items()),
    ]
    lines = [
        f"{returns.size} episodes of {config['env']['id']} after iteration"
        f" {', '.join(map(str, sorted(set(iterations))))}, epsilon {options.epsilon}:",
        *([f"  {selected}"] if selected else []),
        f"  mean {returns.mean():.2f}, standard deviation {returns.std():.2f},"
        f" lowest {returns.min():.2f}, highest {returns.max():.2f}",
        *(of_seeds if len(seeds) > 1 else []),
    ]
    if options.video is not None:
        try:
            with waiting(f"filming {options.video}"):
                total = camera.film(Path(options.video).absolute(), policy, options.stream)
        except OSError as error:
            raise WrongValue("video", options.video, f"cannot be written ({one_line(error)})") from None
        lines.append(f"  {options.video}: a greedy episode of seed {seeds[0]}, return {total:.2f}")
    return {
        "text": "\n".join(lines),
        **dataclasses.asdict(options),
        "iteration": dict(zip(names, iterations, strict=True)) if selected else iterations[0],
        **({"selected": selected} if selected else {}),
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "interquartile_mean": iqm,
        "seed_means": means,
        "returns": dict(zip(names, returns.tolist(), strict=True)),
    }


def watched(evaluator: Evaluator, policy: Policy, index: int) -> Floats:
    """Return the returns of an evaluation, and show how far its episodes are."""
    total = len(evaluator.seeds) * evaluator.episodes
    start = time.monotonic()
    with closing(open_progress(unit="evaluating: episode", total=total)) as progress:
        progress.start(0)

        def watch(done: int, total: int, step: int) -> None:
            if progress.due():
                left = (time.monotonic() - start) * (total - done) / done if done else None
                progress.show(done, f"step {step:,} of the present episodes", left)

        return evaluator(policy, index, watch)
