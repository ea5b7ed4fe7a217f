"""Hydra's sweeper for searches: what it is told, and the order in which things happen."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
from hydra.core.utils import JobStatus

from dqn.config.compose import CANNOT_COMPOSE, mistakes
from dqn.config.preflight import folder_of, resolved
from dqn.errors import InUse, UserError, first_line
from dqn.sweep.launcher import Count, JobLauncher
from dqn.sweep.search.samplers import Natural, Pruner, Sampler
from dqn.sweep.search.space import Space, space_of
from dqn.sweep.sweeper import JobSweeper, tell

log = logging.getLogger(__name__)


class Search(JobSweeper):
    """Looks for the values with the best result; ends with a table, a report, and the best run again.

    Args:
        params: ranges for keys that the command does not give, such as those of a recipe.
        n_trials: in all, however they end.
        fresh_seeds: on which the best settings are run again.
        sampler: proposes the values.
        pruner: ends trials that do badly.
        report: whether to write the report.
    """

    def __init__(
        self,
        *,
        params: dict[str, Any] | None,
        n_trials: Count,
        fresh_seeds: Natural,
        sampler: Sampler,
        pruner: Pruner,
        report: bool,
    ) -> None:
        super().__init__(params=params, report=report)
        self._n_trials, self._fresh_seeds = n_trials, fresh_seeds
        self._sampler, self._pruner = sampler, pruner

    def sweep(self, arguments: list[str]) -> Any:
        """Run all trials and the best again.

        Raises:
            SystemExit: the search cannot be made, no trial has finished, or the last run failed.
        """
        folder = folder_of(self._config, "hydra.sweep.dir").absolute()
        try:
            space = self._space(arguments)
            most = self._sampler.most(space.ranges) or self._n_trials
            with locked(folder):
                ended_well = self._search(space, min(most, self._n_trials), folder)
        except UserError as error:
            with suppress(OSError):
                folder.rmdir()  # where nothing was begun
            sys.exit(str(error))
        if not ended_well:
            sys.exit(1)

    def _space(self, arguments: list[str]) -> Space:
        """Return what is searched; nothing was written."""
        from dqn.sweep.search.study import require_optuna

        require_optuna()
        if not isinstance(self._launcher, JobLauncher):
            should = "hydra/launcher: should be one of this package, such as processes, for a search"
            raise mistakes([should], "the command")
        space = space_of(self.overrides(arguments))
        try:  # of the keys; the values of each trial are checked as those of any job
            self._context.config_loader.load_sweep_config(self._config, space.words(space.first()))
        except CANNOT_COMPOSE as error:
            raise mistakes([first_line(error)], "the search") from None
        return space

    def _search(self, space: Space, most: int, folder: Path) -> bool:
        """Return whether there is a result, and that of the last run."""
        from dqn.sweep.pool import let_run
        from dqn.sweep.search.outcome import Outcome, best_of, dashboard, run_again
        from dqn.sweep.search.study import as_job, begun, open_storage, open_study
        from dqn.sweep.search.trials import Trials
        from dqn.sweep.table import count, the_same_command

        config = resolved(self._config)
        storage = open_storage(folder)
        study = open_study(storage, folder, space, config)
        study.pruner = self._pruner()
        planner = self._launcher.planner()
        trials = Trials(
            study=study, storage=storage, space=space, sampler=self._sampler, planner=planner, most=most
        )
        log.info("search in %s: %d trials, %d of them due", planner.folder, most, trials.left())
        log.info("  %s", dashboard(folder))
        again = None
        try:
            self._launcher.run(trials.jobs(), trials.left(), trials.verdict)
            trials.settle()
            best = best_of(study)
            if best is not None and self._fresh_seeds:
                log.info("the best settings again, on fresh seeds")
                again = run_again(best, planner, config, self._fresh_seeds)
                if again.state == "due":
                    self._launcher.run(iter([again]), 1, let_run)
        except KeyboardInterrupt:
            trials.settle()
            jobs = [as_job(trial, folder) for trial in begun(study)]
            log.info("interrupted: %s; the same command goes on: %s", count(jobs), the_same_command())
            raise
        jobs = [as_job(trial, folder) for trial in begun(study)]
        outcome = Outcome(study, config, best, again)
        outcome.write(folder)
        tell([*jobs, again] if again else jobs, folder, report=self._report)
        outcome.tell(folder)
        return best is not None and (again is None or again.status == JobStatus.COMPLETED)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let no other search work in a folder.

    Raises:
        InUse: another one does.
    """
    lock = filelock.FileLock(folder / ".lock")
    try:
        with lock.acquire(timeout=0):
            yield
    except filelock.Timeout:
        raise InUse(f"{folder}: in use by another search") from None
