"""The evaluation of a run's policies on fresh episodes."""

import dataclasses
import logging
import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dqn import stats
from dqn.agent import Policy
from dqn.atari_scores import players_of
from dqn.config.build import build_policy, make_camera
from dqn.config.options import EvaluateOptions
from dqn.config.read import read_run
from dqn.config.wrappers import env_factory, make_environments
from dqn.deploy.load import load_policies
from dqn.errors import WrongValue, counted, one_line, printable
from dqn.process import configure_process
from dqn.runner.evaluator import Evaluator
from dqn.runner.video import Camera
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import seeds_of
from dqn.tracking.progress import open_progress, waiting
from dqn.types import Floats

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The results of an evaluation; `str` returns them as text."""

    folder: Path
    """The run's."""
    env: str
    """The id of the environment."""
    options: EvaluateOptions
    returns: dict[int, list[float]] = field(repr=False)
    """The undiscounted raw returns of the episodes, by seed."""
    iterations: dict[int, int]
    """Number of iterations after which each seed's policy was stored, by seed."""
    selected: str | None
    """A note that the policies were selected, and how; None for the last policies of the run."""
    filmed: float | None
    """The return of the filmed episode; None without a video."""

    @property
    def seed_means(self) -> dict[int, float]:
        """The mean return of each seed."""
        return {seed: float(np.mean(returns)) for seed, returns in self.returns.items()}

    @property
    def mean(self) -> float:
        """The mean return of all episodes."""
        return float(self._all().mean())

    @property
    def interquartile_mean(self) -> float:
        """The interquartile mean over seeds of their mean returns."""
        return stats.interquartile_mean(list(self.seed_means.values()))

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % bootstrap interval of the interquartile mean; None for a single seed."""
        if len(self.returns) == 1:
            return None
        found = stats.summarize(list(self.seed_means.values()))
        return found.low, found.high

    @property
    def human_normalized(self) -> float | None:
        """The mean return, where 0 is that of random play and 1 a human's; None if they are not known."""
        players = players_of(self.env)
        return None if players is None else players.normalized(self.mean)

    def __repr__(self) -> str:
        means = ", ".join(f"seed {seed}: {mean:.2f}" for seed, mean in self.seed_means.items())
        episodes = counted(self.options.episodes, "episode")
        return printable(f"<Evaluation on {self.env}, {episodes} per seed: {means}>")

    def __str__(self) -> str:
        options, returns = self.options, self._all()
        lines = [
            f"{counted(returns.size, 'episode')} of {self.env} after iteration"
            f" {', '.join(map(str, sorted(set(self.iterations.values()))))}, epsilon {options.epsilon}:",
            *([f"  {self.selected}"] if self.selected else []),
            f"  mean {returns.mean():.2f}, standard deviation {returns.std():.2f},"
            f" lowest {returns.min():.2f}, highest {returns.max():.2f}",
        ]
        if (players := players_of(self.env)) is not None:
            about = f"0: random play, {players.random}; 1: a human, {players.human}"
            lines.append(f"  human-normalised {self.human_normalized:.3f} ({about})")
        if self.interval is not None:
            low, high = self.interval
            of_seeds = f"interquartile mean of {len(self.returns)} seeds {self.interquartile_mean:.2f}"
            lines.append(f"  {of_seeds}, 95 % bootstrap interval {low:.2f} to {high:.2f}")
            lines += [f"  seed {seed}: mean {mean:.2f}" for seed, mean in self.seed_means.items()]
        if self.filmed is not None:
            about = f"a greedy episode of seed {min(self.returns)}, return {self.filmed:.2f}"
            lines.append(f"  {options.video}: {about}")
        return printable("\n".join(lines))

    def content(self) -> dict[str, Any]:
        """Return the content of evaluation.json."""
        iterations = by_name(self.iterations)
        return {
            **dataclasses.asdict(self.options),
            "iteration": iterations if self.selected else next(iter(iterations.values())),
            **({"selected": self.selected} if self.selected else {}),
            "mean": self.mean,
            "std": float(self._all().std()),
            "interquartile_mean": self.interquartile_mean,
            "interval": self.interval,
            **({} if self.human_normalized is None else {"human_normalized": self.human_normalized}),
            "seed_means": by_name(self.seed_means),
            "returns": by_name(self.returns),
        }

    def _all(self) -> Floats:
        """Return the returns [K, episodes]."""
        return np.array(list(self.returns.values()))


def by_name(values: dict[int, Any]) -> dict[str, Any]:
    return {str(seed): value for seed, value in values.items()}


def evaluate_run(run: Path, options: EvaluateOptions, trust: Sequence[str]) -> Evaluation:
    """Play fresh episodes with the policies of all seeds of a run.

    Raises:
        UserError: the folder has no valid run, or lacks the policies.
    """
    config, folder = read_run(run, trust)
    epsilon = config["runner"]["eval_epsilon"] if options.epsilon is None else options.epsilon
    options = replace(options, epsilon=epsilon)
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
        epsilon=epsilon,
        num_envs=config["runner"]["eval_num_envs"],
        max_steps=config["runner"]["eval_max_steps"],
        role="evaluation",
    )
    returns = watched(evaluator, policy, options.stream)
    return Evaluation(
        folder=folder.path,
        env=config["env"]["id"],
        options=options,
        returns=dict(zip(seeds, returns.tolist(), strict=True)),
        iterations=dict(zip(seeds, iterations, strict=True)),
        selected=selected,
        filmed=film(camera, policy, options),
    )


def film(camera: Camera, policy: Policy, options: EvaluateOptions) -> float | None:
    """Write the video that the options ask for; return the return of its episode, None without a video."""
    if options.video is None:
        return None
    try:
        with waiting(f"filming {options.video}"):
            return camera.film(Path(options.video).absolute(), policy, options.stream)
    except OSError as error:
        raise WrongValue("video", options.video, f"cannot be written ({one_line(error)})") from None


def can_record(run: Path) -> bool:
    """Return whether evaluation.json can be written into a run folder; warn if it cannot."""
    can_write = os.access(run, os.W_OK | os.X_OK)
    if run.is_dir() and not can_write:
        log.warning("%s", printable(f"warning: {run} cannot be written: the results are not recorded"))
    return can_write


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
