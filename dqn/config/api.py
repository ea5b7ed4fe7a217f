"""The public Python interface: train, resume, evaluate and load runs."""

import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dqn.config.any_env import with_base
from dqn.config.compose import StrPath, compose
from dqn.config.evaluate import Evaluation, can_record, evaluate_run
from dqn.config.given import environment_of, overrides_for, remember
from dqn.config.launch import launch
from dqn.config.options import EvaluateOptions, read_options
from dqn.config.preflight import CheckedRun, preflight, prepare
from dqn.config.read import load_policy, read_run, recorded
from dqn.config.session import log_shown
from dqn.config.values import parse, replace_values
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.env import MakeEnv, given
from dqn.errors import UserError, printable
from dqn.process import preserve_settings
from dqn.runner import Callback, Training
from dqn.storage.folder import RunFolder, seeds_of
from dqn.tracking.progress import waiting

log = logging.getLogger(__name__)

OnIteration = Callable[[Training], object]
"""A function of the run, called as the hook `on_iteration` of callbacks is."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run. Functions that take a run folder take it too."""

    folder: Path
    config: dict[str, Any] = field(repr=False)
    """The complete configuration, as recorded in .hydra/config.yaml."""
    result: float
    """The interquartile mean over seeds of the final evaluation, or of the latest training returns."""
    evaluation: dict[str, list[float]] | None = field(repr=False)
    """The returns of the final evaluation's episodes, by seed; None without evaluations."""

    def load(self, seed: int | None = None, *, policy: Literal["last", "best"] = "last") -> GreedyPolicy:
        """Return the policy of a seed, by default of the first one; see dqn.load."""
        folder = RunFolder(self.folder)
        with environment_of(folder, None):
            return load_policy(self.config, folder, seed, policy)

    def __fspath__(self) -> str:
        """Return the run folder."""
        return os.fspath(self.folder)

    def __repr__(self) -> str:
        seeds = seeds_of(self.config)
        which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
        kind = "latest training" if self.evaluation is None else "evaluation"
        about = f"{self.config['env']['id']}, {which}: {kind} return {self.result:.2f}, in {self.folder}"
        return printable(f"<Run on {about}>")


class AfterIterations(Callback):
    """Calls a function after each iteration."""

    def __init__(self, function: OnIteration) -> None:
        self._function = function

    def on_iteration(self, run: Training) -> None:
        self._function(run)


def train(
    overrides: Sequence[str],
    *,
    config_dir: StrPath | None,
    env: MakeEnv | None,
    on_iteration: OnIteration | None,
) -> Run:
    """Implement dqn.train."""
    overrides = overrides_for(env, listed(overrides))
    with log_shown(), given(env):
        with waiting("checking the configuration"):
            overrides = with_base(overrides, config_dir)
            composed = compose(overrides, config_dir=config_dir)
            if composed.is_multirun:
                raise UserError(
                    f"{' '.join(overrides)}: is a sweep; dqn.train trains one run, sweeps need the command"
                )
            run = prepare(composed.config, overrides)
        remember(run.folder, env)
        return finish(run, on_iteration, restart=False)


def resume(
    run: StrPath,
    overrides: Sequence[str],
    *,
    env: MakeEnv | None,
    on_iteration: OnIteration | None,
    restart: bool,
    trust: Sequence[str],
) -> Run:
    """Implement dqn.resume."""
    folder, overrides = RunFolder(Path(run)), listed(overrides)
    with log_shown(), environment_of(folder, env):
        with waiting("checking the configuration"):
            config = replace_values(recorded(folder, listed(trust)), parse(overrides))
            checked = preflight(config, folder, overrides)
        return finish(checked, on_iteration, restart=restart)


def finish(run: CheckedRun, on_iteration: OnIteration | None, *, restart: bool) -> Run:
    """Train a checked run to its end and return it."""
    callbacks = {} if on_iteration is None else {"on_iteration": AfterIterations(on_iteration)}
    with preserve_settings():
        result = launch(run, restart=restart, callbacks=callbacks)
    stored = run.folder.stored_status().get("evaluation")
    evaluation = None
    if stored is not None:
        evaluation = {seed: [math.nan if x is None else x for x in xs] for seed, xs in stored.items()}
    return Run(folder=run.folder.path, config=run.config, result=result, evaluation=evaluation)


def evaluate(run: StrPath, options: dict[str, Any], env: MakeEnv | None, trust: Sequence[str]) -> Evaluation:
    """Implement dqn.evaluate."""
    folder = RunFolder(Path(run))
    checked = read_options(EvaluateOptions, options)
    with log_shown(), environment_of(folder, env), preserve_settings():
        can_write = can_record(folder.path)
        evaluation = evaluate_run(folder.path, checked, listed(trust))
        try:
            if can_write:
                folder.write_evaluation(evaluation.content())
        except UserError as error:  # the results took longer to get than anything that depends on the file
            log.warning("warning: %s", error)
    return evaluation


def load(
    run: StrPath, *, seed: int | None, policy: str, env: MakeEnv | None, trust: Sequence[str]
) -> GreedyPolicy:
    """Implement dqn.load."""
    folder = RunFolder(Path(run))
    with environment_of(folder, env):
        config, _ = read_run(folder.path, listed(trust))
        return load_policy(config, folder, seed, policy)


def listed(texts: Sequence[str]) -> list[str]:
    """Return texts as a list; one text alone counts as a list of it."""
    return [texts] if isinstance(texts, str) else list(texts)
