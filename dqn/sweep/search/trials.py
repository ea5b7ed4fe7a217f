"""The trials of a search as jobs: proposed one at a time, watched, and reported to the study."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dqn.storage.folder import seeds_of
from dqn.sweep.job import SweepJob
from dqn.sweep.planner import Planner
from dqn.sweep.pool import log_failure
from dqn.sweep.search.returns import periodic_returns
from dqn.sweep.search.samplers import SearchSampler
from dqn.sweep.search.space import SearchSpace
from dqn.sweep.search.study import FOLDER, OVERRIDES, REASON, SECONDS, STOP_REASON, reopen, started

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, Trial


@dataclass
class ActiveTrial:
    """A trial and its job."""

    trial: "Trial"
    job: SweepJob
    reported: int
    """Last iteration whose return was reported to the study."""


@dataclass(kw_only=True)
class Trials:
    """Runs trials until the study has the wanted number.

    Each step is stored before the next one starts, so a kill loses nothing; a continued search first finishes
    the trials that were running.
    """

    study: "Study"
    """The study, with its pruner set."""
    storage: "RDBStorage"
    space: SearchSpace
    sampler: SearchSampler
    planner: Planner
    most: int
    """Number of trials at the end."""
    active: dict[int, ActiveTrial] = field(default_factory=dict, init=False)

    def left(self) -> int:
        """Return the number of trials that are unfinished or not started."""
        trials = started(self.study)
        unfinished = sum(not trial.state.is_finished() for trial in trials)
        return unfinished + max(0, self.most - len(trials))

    def jobs(self) -> Iterator[SweepJob]:
        """Yield the jobs of the trials that a kill left unfinished, then those of new trials.

        The results of ended jobs are reported to the study before it proposes the next values.
        """
        from optuna.trial import TrialState

        for stored in self.study.get_trials(states=[TrialState.RUNNING]):
            trial = reopen(self.study, self.storage, stored.number)
            if OVERRIDES not in stored.user_attrs:  # killed while being proposed: proposed again below
                self.study.tell(trial, state=TrialState.FAIL)
            elif STOP_REASON in stored.user_attrs:  # killed while being pruned
                trial.set_user_attr(REASON, stored.user_attrs[STOP_REASON])
                self.study.tell(trial, state=TrialState.PRUNED)
            else:
                yield from self._job(trial, max(stored.intermediate_values, default=0))
        while True:
            self.settle()
            number = len(started(self.study))
            if number >= self.most:
                return
            self.study.sampler = self.sampler(self.space.ranges, number)
            yield from self._job(self.study.ask(dict(self.space.ranges)), 0)

    def _job(self, trial: "Trial", reported: int) -> Iterator[SweepJob]:
        """Yield the job of a trial, unless its configuration is invalid: then it has failed."""
        overrides = self.space.overrides(trial.params)
        job = self.planner.job(overrides, trial.number)
        if job.folder is not None:
            trial.set_user_attr(FOLDER, str(job.folder.path.relative_to(self.planner.folder.absolute())))
        trial.set_user_attr(OVERRIDES, overrides)
        self.active[trial.number] = ActiveTrial(trial, job, reported)
        if job.state == "failed":
            log_failure(job)
        else:
            yield job

    def settle(self) -> None:
        """Report the jobs that have ended to the study; interrupted ones stay unfinished."""
        for number, active in list(self.active.items()):
            if active.job.state not in ("due", "waiting", "running", "interrupted"):
                del self.active[number]
                self._report(active.trial, active.job)

    def _report(self, trial: "Trial", job: SweepJob) -> None:
        from optuna.trial import TrialState

        if job.seconds is not None:
            trial.set_user_attr(SECONDS, round(job.seconds, 1))
        if job.state in ("finished", "skipped"):
            if math.isfinite(job.return_value):
                self.study.tell(trial, job.return_value)
                return
            job.fail(f"its result is {job.return_value}")
        trial.set_user_attr(REASON, job.reason)
        self.study.tell(trial, state=TrialState.PRUNED if job.state == "pruned" else TrialState.FAIL)

    def stop_rule(self, job: SweepJob) -> str:
        """Report a job's new returns to the study; return the reason to stop the job, "" if there is none."""
        (active,) = [one for one in self.active.values() if one.job is job]
        progress = job.run_folder.stored_status().get("progress")
        if not progress or progress["iteration"] <= active.reported:
            return ""
        for iteration, value in periodic_returns(job.run_folder, job.config).items():
            if iteration > active.reported:
                active.trial.report(value, iteration)
                active.reported = iteration
                if progress["tick"] < progress["total"] and active.trial.should_prune():
                    reason = f"{value:.2f} after iteration {iteration} is below the median"
                    active.trial.set_user_attr(STOP_REASON, reason)
                    return reason
        return ""


def fresh_job(best: "FrozenTrial", planner: Planner, config: dict[str, Any], fresh_seeds: int) -> SweepJob:
    """Return the job of the best settings on the `fresh_seeds` seeds that follow those of the search."""
    seeds = [f"seed={seeds_of(config).stop}", f"num_seeds={fresh_seeds}"]
    return planner.job([*best.user_attrs[OVERRIDES], *seeds], best.number)
