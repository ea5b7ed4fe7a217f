"""The public Python interface: train a run, load the policy of a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dqn.config.any_env import with_base
from dqn.config.build import build_policy
from dqn.config.compose import StrPath, compose
from dqn.config.launch import launch
from dqn.config.preflight import prepare
from dqn.config.trust import load_config
from dqn.config.validate import check
from dqn.config.wrappers import env_factory
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.deploy.load import load_policies
from dqn.errors import UserError
from dqn.process import preserve_settings
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import RunFolder, seeds_of


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run."""

    folder: Path
    config: dict[str, Any] = field(repr=False)
    """The complete configuration, as recorded in .hydra/config.yaml."""
    result: float
    """The interquartile mean over seeds of the final evaluation, or of the latest training returns."""
    evaluation: dict[str, list[float]] | None = field(repr=False)
    """The returns of the final evaluation's episodes, by seed; None without evaluations."""

    def load(self, seed: int | None = None, *, policy: Literal["last", "best"] = "last") -> GreedyPolicy:
        """Return the policy of a seed, by default of the first one; see dqn.load."""
        return load_policy(self.config, RunFolder(self.folder), seed, policy)


def train(overrides: Sequence[str], config_dir: StrPath | None) -> Run:
    """Implement dqn.train."""
    overrides = with_base([overrides] if isinstance(overrides, str) else overrides, config_dir)
    composed = compose(overrides, config_dir=config_dir)
    if composed.is_multirun:
        raise UserError(
            f"{' '.join(overrides)}: is a sweep; dqn.train trains one run, sweeps need the command"
        )
    run = prepare(composed.config, overrides)
    with preserve_settings():
        result = launch(run)
    stored = run.folder.stored_status().get("evaluation")
    evaluation = None
    if stored is not None:
        evaluation = {seed: [math.nan if x is None else x for x in xs] for seed, xs in stored.items()}
    return Run(folder=run.folder.path, config=run.config, result=result, evaluation=evaluation)


def load(run: StrPath, seed: int | None, policy: str, trust: Sequence[str]) -> GreedyPolicy:
    """Implement dqn.load."""
    config, folder = read_run(run, [trust] if isinstance(trust, str) else trust)
    return load_policy(config, folder, seed, policy)


def read_run(run: StrPath, trust: Sequence[str]) -> tuple[dict[str, Any], RunFolder]:
    """Return the checked configuration of a run folder, which is treated as data, and the folder."""
    folder = RunFolder(Path(run))
    config = load_config(folder, trust)
    check(config, learns=False).raise_if_any()
    return config, folder


def load_policy(config: dict[str, Any], folder: RunFolder, seed: int | None, which: str) -> GreedyPolicy:
    """Return the last or the best policy of one seed of a run whose configuration was checked.

    Raises:
        UserError: the run lacks this seed or policy, or its checkpoint is missing, damaged or another run's.
    """
    seeds = seeds_of(config)
    seed = seeds[0] if seed is None else seed
    if isinstance(seed, bool) or seed not in seeds:
        known = f"the seed {seeds[0]}" if len(seeds) == 1 else f"the seeds {seeds[0]} to {seeds[-1]}"
        raise UserError(f"seed={seed!r}: the run has {known}")
    factory = env_factory(config["env"])
    policy = build_policy(config, spec=factory.spec, seeds=[seed])
    rows = slice(seed - seeds[0], seed - seeds[0] + 1)
    (iteration,), selected = load_policies(policy, Checkpoint(folder.path), which, seeds=seeds, rows=rows)
    return GreedyPolicy(policy=policy, factory=factory, seed=seed, iteration=iteration, selected=selected)
