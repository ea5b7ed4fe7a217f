"""The trials of a search as jobs: asked for one by one, watched, and their ends told to the study."""

import logging
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dqn.sweep.job import SweepJob
from dqn.sweep.planner import Planner, fail
from dqn.sweep.search.returns import periodic_returns
from dqn.sweep.search.samplers import Sampler
from dqn.sweep.search.space import Space
from dqn.sweep.search.study import FOLDER, REASON, SECONDS, VERDICT, WORDS, begun, reopened

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import Trial

log = logging.getLogger(__name__)

AT_WORK = ("due", "waiting", "running")


class Running:
    """A trial and its job."""

    def __init__(self, trial: "Trial", job: SweepJob, told: int) -> None:
        self.trial, self.job = trial, job
        self.told = told
        """Iterations of which the study knows."""


class Trials:
    """Goes through the trials of a study until there are as many as there should be.

    Whatever must not be lost is in the storage before the next thing happens; what a kill leaves unfinished
    there is done first.

    Args:
        study: with its pruner.
        storage: of the study.
        space: what is tried.
        sampler: proposes it.
        planner: makes the jobs.
        most: how many trials there are in the end.
    """

    def __init__(
        self,
        *,
        study: "Study",
        storage: "RDBStorage",
        space: Space,
        sampler: Sampler,
        planner: Planner,
        most: int,
    ) -> None:
        self._study, self._storage, self._space = study, storage, space
        self._sampler, self._planner, self._most = sampler, planner, most
        self._running: dict[int, Running] = {}

    def left(self) -> int:
        """Return how many trials are not at their end."""
        trials = begun(self._study)
        unfinished = sum(not trial.state.is_finished() for trial in trials)
        return unfinished + max(0, self._most - len(trials))

    def jobs(self) -> Iterator[SweepJob]:
        """Yield the jobs of the trials that a kill left unfinished, then those of new ones.

        Jobs that ended meanwhile are told to the study before it is asked for the next.
        """
        from optuna.trial import TrialState

        for stored in self._study.get_trials(states=[TrialState.RUNNING]):
            trial = reopened(self._study, self._storage, stored.number)
            if WORDS not in stored.user_attrs:  # killed as it was asked for: it is asked for again
                self._study.tell(trial, state=TrialState.FAIL)
            elif VERDICT in stored.user_attrs:  # killed as it was being pruned
                trial.set_user_attr(REASON, stored.user_attrs[VERDICT])
                self._study.tell(trial, state=TrialState.PRUNED)
            else:
                yield from self._job(trial, max(stored.intermediate_values, default=0))
        while True:
            self.settle()
            number = len(begun(self._study))
            if number >= self._most:
                return
            self._study.sampler = self._sampler(self._space.ranges, number)
            yield from self._job(self._study.ask(dict(self._space.ranges)), 0)

    def _job(self, trial: "Trial", told: int) -> Iterator[SweepJob]:
        """Yield the job of a trial, unless its configuration is wrong: then it has failed."""
        words = self._space.words(trial.params)
        job = self._planner.job(words, trial.number)
        if job.folder is not None:
            trial.set_user_attr(FOLDER, str(job.folder.path.relative_to(self._planner.folder.absolute())))
        trial.set_user_attr(WORDS, words)
        self._running[trial.number] = Running(trial, job, told)
        if job.state == "failed":
            log.info("failed    %s: %s", job.name, job.reason)
        else:
            yield job

    def settle(self) -> None:
        """Tell the study how jobs ended that are at work no more; interrupted ones have not ended."""
        for number, running in list(self._running.items()):
            if running.job.state not in (*AT_WORK, "interrupted"):
                del self._running[number]
                self._tell(running.trial, running.job)

    def _tell(self, trial: "Trial", job: SweepJob) -> None:
        from optuna.trial import TrialState

        if job.seconds is not None:
            trial.set_user_attr(SECONDS, round(job.seconds, 1))
        if job.state in ("finished", "skipped"):
            if math.isfinite(job.return_value):
                self._study.tell(trial, job.return_value)
                return
            fail(job, f"its result is {job.return_value}")
        trial.set_user_attr(REASON, job.reason)
        self._study.tell(trial, state=TrialState.PRUNED if job.state == "pruned" else TrialState.FAIL)

    def verdict(self, job: SweepJob) -> str:
        """Tell the study what a job has reached; return why it is to end, "" if it is not."""
        (running,) = [one for one in self._running.values() if one.job is job]
        assert job.folder is not None
        progress = job.folder.stored_status().get("progress")
        if not isinstance(progress, dict) or progress["iteration"] <= running.told:
            return ""
        for iteration, value in periodic_returns(job.folder, job.config).items():
            if iteration > running.told:
                running.trial.report(value, iteration)
                running.told = iteration
                if progress["tick"] < progress["total"] and running.trial.should_prune():
                    reason = f"{value:.2f} after iteration {iteration} is below the median"
                    running.trial.set_user_attr(VERDICT, reason)
                    return reason
        return ""
