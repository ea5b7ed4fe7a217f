"""Hydra's sweeper for searches: its settings, and the order in which things happen."""

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobStatus

from dqn.config.compose import CANNOT_COMPOSE, mistakes
from dqn.config.preflight import folder_of, resolved
from dqn.errors import UserError, first_line
from dqn.storage.folder import RunFolder
from dqn.sweep.launcher import Count, JobLauncher
from dqn.sweep.search.samplers import Natural, Pruner, SearchSampler
from dqn.sweep.search.space import SearchSpace, space_of
from dqn.sweep.sweeper import JobSweeper, log_results

log = logging.getLogger(__name__)


class SearchSweeper(JobSweeper):
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
        sampler: SearchSampler,
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
            most = self._sampler.max_trials(space.ranges) or self._n_trials
            with RunFolder(folder).locked():
                ended_well = self._search(space, min(most, self._n_trials), folder)
        except UserError as error:
            with suppress(OSError):
                folder.rmdir()  # where nothing was begun
            sys.exit(str(error))
        if not ended_well:
            sys.exit(1)

    def _space(self, arguments: list[str]) -> SearchSpace:
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

    def _search(self, space: SearchSpace, most: int, folder: Path) -> bool:
        """Return whether there is a result, and that of the last run."""
        from dqn.sweep.pool import never_stop
        from dqn.sweep.search.outcome import best_of, dashboard, log_summary, plan_fresh_run, write_record
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
        fresh = None
        try:
            self._launcher.run(trials.jobs(), trials.left(), trials.stop_rule)
            trials.settle()
            best = best_of(study)
            if best is not None and self._fresh_seeds:
                log.info("the best settings again, on fresh seeds")
                fresh = plan_fresh_run(best, planner, config, self._fresh_seeds)
                if fresh.state == "due":
                    self._launcher.run(iter([fresh]), 1, never_stop)
        except KeyboardInterrupt:
            trials.settle()
            jobs = [as_job(trial, folder) for trial in begun(study)]
            log.info("interrupted: %s; the same command goes on: %s", count(jobs), the_same_command())
            raise
        jobs = [as_job(trial, folder) for trial in begun(study)]
        record = write_record(folder, study, config, best, fresh)
        log_results([*jobs, fresh] if fresh else jobs, folder, report=self._report)
        log_summary(record, best, folder)
        return best is not None and (fresh is None or fresh.status == JobStatus.COMPLETED)
