"""A search as an Optuna study: stored in a file of the sweep's folder, with its trials as jobs."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dqn.errors import UserError, first_line, format_value, needs_extra
from dqn.stats import interquartile_mean
from dqn.storage.flatten import leaves
from dqn.storage.folder import RunFolder, seeds_of
from dqn.storage.metrics import RECENT_EPISODES, read_lines
from dqn.sweep.job import SweepJob
from dqn.sweep.planner import Planner
from dqn.sweep.pool import log_failure
from dqn.sweep.search.samplers import SearchSampler
from dqn.sweep.search.space import SearchSpace, text

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

NAME = "search"
STUDY_FILE = "search.db"
ABOUT = "about"
"""Attribute of the study: the searched ranges and all other values, which must not change."""
FOLDER, STOP_REASON, REASON = "folder", "verdict", "reason"
"""Attributes of a trial: its run folder, why to stop it early, and why it failed; the names are
in the files of existing searches."""
ITERATION_END = "time/steps_per_second"
"""Key that only the last line of an iteration in metrics.jsonl has."""


def require_optuna() -> None:
    """Raise UserError unless Optuna is installed; make it log only warnings."""
    with needs_extra("hydra/sweeper=optuna", "Optuna", "search"):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def url(folder: Path) -> str:
    """Return the address of a folder's study for Optuna's programs."""
    return f"sqlite:///{folder / STUDY_FILE}"


def open_study(folder: Path, space: SearchSpace, config: dict[str, Any]) -> "Study":
    """Return the study of a folder; create it if there is none.

    The values of the resolved `config` that `space` does not vary are part of the study.

    Raises:
        UserError: the folder holds another search, or its file is not a study of Optuna.
    """
    import optuna
    from optuna.distributions import distribution_to_json
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = optuna.storages.RDBStorage(url(folder))
    except (optuna.exceptions.OptunaError, SQLAlchemyError, RuntimeError) as error:
        raise UserError(f"{folder / STUDY_FILE}: not a study of Optuna ({first_line(error)})") from None
    about = {key: format_value(value) for key, value in leaves(config) if key not in space.ranges}
    about |= {key: distribution_to_json(one) for key, one in space.ranges.items()}
    study = optuna.create_study(study_name=NAME, storage=storage, direction="maximize", load_if_exists=True)
    before = study.user_attrs.get(ABOUT)
    if before is None:
        study.set_user_attr(ABOUT, about)
    elif before != about:
        changed = [
            f"{key}: {before.get(key, 'not searched')} there, {about.get(key, 'not searched')} here"
            for key in sorted(before.keys() | about.keys())
            if before.get(key) != about.get(key)
        ]
        advice = "trials of the two cannot be compared; give another name=NAME for a new search"
        raise UserError("\n  ".join([f"{folder}: holds another search ({advice}):", *changed]))
    return study


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Raise UserError if the study of a folder cannot be read or written, such as on a full disk."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OptunaError, SQLAlchemyError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        kept = "the runs and the trials before are kept; run the same command to continue"
        raise UserError(f"{folder / STUDY_FILE}: cannot be read or written ({reason}); {kept}") from None


@dataclass(kw_only=True)
class TrialJob(SweepJob):
    """The job of a trial, which reports its returns and its end to the study."""

    study: "Study"
    """The study, with its pruner set."""
    trial: "Trial"
    reported: int
    """Last iteration whose return was reported."""

    def succeed(self, state: str, result: float) -> None:
        if not math.isfinite(result):
            self.fail(f"its result is {result}")
            return
        super().succeed(state, result)
        self.study.tell(self.trial, result)

    def fail(self, reason: str, state: str = "failed") -> None:
        from optuna.trial import TrialState

        super().fail(reason, state)
        if state == "interrupted":  # the trial is continued later
            return
        if state == "failed":
            self.trial.set_user_attr(REASON, self.reason)
        self.study.tell(self.trial, state=TrialState.PRUNED if state == "pruned" else TrialState.FAIL)

    def stop_reason(self) -> str:
        progress = self.run_folder.stored_status().get("progress")
        if not progress or progress["iteration"] <= self.reported:
            return ""
        for iteration, value in periodic_returns(self.run_folder, self.config).items():
            if iteration > self.reported:
                self.trial.report(value, iteration)
                self.reported = iteration
                if progress["tick"] < progress["total"] and self.trial.should_prune():
                    reason = f"{value:.2f} after iteration {iteration} is below the median"
                    self.trial.set_user_attr(STOP_REASON, reason)
                    return reason
        return ""


def trials_left(study: "Study", most: int) -> int:
    """Return the number of trials that are unfinished or, of `most`, not started."""
    trials = study.trials
    return sum(not trial.state.is_finished() for trial in trials) + max(0, most - len(trials))


def trial_jobs(
    study: "Study", *, space: SearchSpace, sampler: SearchSampler, planner: Planner, most: int
) -> Iterator[SweepJob]:
    """Yield the jobs of the trials that a kill left unfinished, then those of new trials up to `most`.

    The values of a new trial depend on the results of those that have ended. Each step is stored before the
    next one starts, so a kill loses nothing.
    """
    from optuna.trial import TrialState, create_trial

    for stored in study.get_trials(states=[TrialState.RUNNING]):
        if STOP_REASON in stored.user_attrs:  # killed while being pruned
            study.tell(stored.number, state=TrialState.PRUNED)
        else:
            study._storage.set_trial_state_values(stored._trial_id, TrialState.WAITING)
    while True:
        if not study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
            trials = study.trials
            if len(trials) >= most:
                return
            values = sampler(space.ranges, trials)
            proposed = create_trial(state=TrialState.WAITING, params=values, distributions=dict(space.ranges))
            study.add_trial(proposed)  # in one step, which a kill cannot divide
        trial = study.ask()
        reported = max(study.trials[trial.number].intermediate_values, default=0)
        overrides = space.overrides(trial.params)
        job = TrialJob(overrides=overrides, study=study, trial=trial, reported=reported)
        planner.plan(job, trial.number)
        if job.state == "failed":
            log_failure(job)
        else:
            trial.set_user_attr(FOLDER, job.name)
            yield job


def periodic_returns(folder: RunFolder, config: dict[str, Any]) -> dict[int, float]:
    """Return the interquartile mean over seeds of the return in each iteration, counted from 1.

    The return is that of the periodic evaluation or, in runs without one, the mean of the latest training
    episodes. Iterations that lack a return of some seed are left out. The job may run on any machine: its
    returns are read from its files.
    """
    runner = config["runner"]
    evaluation = runner["eval_period"] > 0 and runner["eval_episodes"] > 0
    seeds = [dict(seed_returns(folder, seed, evaluation=evaluation)) for seed in seeds_of(config)]
    shared = sorted(set(seeds[0]).intersection(*seeds))
    return {iteration: interquartile_mean([one[iteration] for one in seeds]) for iteration in shared}


def seed_returns(folder: RunFolder, seed: int, *, evaluation: bool) -> Iterator[tuple[int, float]]:
    """Yield iteration and return of a seed, from evaluation or from training."""
    recent: deque[float] = deque(maxlen=RECENT_EPISODES)
    iteration = 0
    for line in read_lines(folder.path, seed):
        if "train/return" in line:
            recent.append(line["train/return"])
        if ITERATION_END not in line:
            continue
        iteration += 1
        if evaluation and "eval/return" in line:
            yield iteration, line["eval/return"]
        elif not evaluation and recent:
            yield iteration, fmean(recent)


def to_job(trial: "FrozenTrial", folder: Path) -> SweepJob:
    """Return a stored trial of the search in `folder` as a job that has ended."""
    from optuna.trial import TrialState

    attrs = trial.user_attrs
    job = SweepJob(name=f"trial {trial.number}: {describe(trial)}")
    if FOLDER in attrs:  # else its configuration was invalid
        job.folder = RunFolder(folder / attrs[FOLDER])
        job.seconds = trial.duration.total_seconds() if trial.duration else None
    if trial.value is not None and trial.state == TrialState.COMPLETE:
        job.succeed("finished", trial.value)
    else:
        states = {TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        job.fail(reason_of(trial) or "", states.get(trial.state, "interrupted"))
    return job


def reason_of(trial: "FrozenTrial") -> str | None:
    """Return why a trial failed or was pruned, None if it did neither: one to be pruned may have finished."""
    attributes = {"FAIL": REASON, "PRUNED": STOP_REASON}
    return trial.user_attrs.get(attributes.get(trial.state.name, ""))


def settings(trial: "FrozenTrial") -> dict[str, str]:
    """Return the values of a trial by their keys, as written on the command line."""
    return {key.lstrip("+"): text(value) for key, value in trial.params.items()}


def describe(trial: "FrozenTrial") -> str:
    return " ".join(f"{key}={value}" for key, value in settings(trial).items())
