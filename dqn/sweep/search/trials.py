"""The trials of a search as jobs: asked for one by one, watched, and their results reported to the study."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dqn.sweep.job import SweepJob
from dqn.sweep.planner import Planner
from dqn.sweep.search.returns import periodic_returns
from dqn.sweep.search.samplers import SearchSampler
from dqn.sweep.search.space import SearchSpace
from dqn.sweep.search.study import FOLDER, REASON, SECONDS, STOP_REASON, WORDS, begun, reopened

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import Trial

log = logging.getLogger(__name__)

AT_WORK = ("due", "waiting", "running")


@dataclass
class ActiveTrial:
    """A trial and its job."""

    trial: "Trial"
    job: SweepJob
    reported: int
    """Iterations whose returns the study has."""


@dataclass(kw_only=True)
class Trials:
    """Goes through the trials of a study until there are as many as there should be.

    Whatever must not be lost is in the storage before the next thing happens; what a kill leaves unfinished
    there is done first.
    """

    study: "Study"
    """With its pruner."""
    storage: "RDBStorage"
    space: SearchSpace
    sampler: SearchSampler
    planner: Planner
    most: int
    """Number of trials in the end."""
    active: dict[int, ActiveTrial] = field(default_factory=dict, init=False)

    def left(self) -> int:
        """Return how many trials are not at their end."""
        trials = begun(self.study)
        unfinished = sum(not trial.state.is_finished() for trial in trials)
        return unfinished + max(0, self.most - len(trials))

    def jobs(self) -> Iterator[SweepJob]:
        """Yield the jobs of the trials that a kill left unfinished, then those of new ones.

        Results of jobs that ended meanwhile are reported to the study before it is asked for the next.
        """
        from optuna.trial import TrialState

        for stored in self.study.get_trials(states=[TrialState.RUNNING]):
            trial = reopened(self.study, self.storage, stored.number)
            if WORDS not in stored.user_attrs:  # killed as it was asked for: it is asked for again
                self.study.tell(trial, state=TrialState.FAIL)
            elif STOP_REASON in stored.user_attrs:  # killed as it was being pruned
                trial.set_user_attr(REASON, stored.user_attrs[STOP_REASON])
                self.study.tell(trial, state=TrialState.PRUNED)
            else:
                yield from self._job(trial, max(stored.intermediate_values, default=0))
        while True:
            self.settle()
            number = len(begun(self.study))
            if number >= self.most:
                return
            self.study.sampler = self.sampler(self.space.ranges, number)
            yield from self._job(self.study.ask(dict(self.space.ranges)), 0)

    def _job(self, trial: "Trial", reported: int) -> Iterator[SweepJob]:
        """Yield the job of a trial, unless its configuration is wrong: then it has failed."""
        words = self.space.words(trial.params)
        job = self.planner.job(words, trial.number)
        if job.folder is not None:
            trial.set_user_attr(FOLDER, str(job.folder.path.relative_to(self.planner.folder.absolute())))
        trial.set_user_attr(WORDS, words)
        self.active[trial.number] = ActiveTrial(trial, job, reported)
        if job.state == "failed":
            log.info("failed    %s: %s", job.name, job.reason)
        else:
            yield job

    def settle(self) -> None:
        """Report to the study the jobs that have ended; interrupted ones have not."""
        for number, active in list(self.active.items()):
            if active.job.state not in (*AT_WORK, "interrupted"):
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
        """Report the returns of a job to the study; return why the job is to stop, "" if it is not."""
        (active,) = [one for one in self.active.values() if one.job is job]
        progress = job.run_folder.stored_status().get("progress")
        if not isinstance(progress, dict) or progress["iteration"] <= active.reported:
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
