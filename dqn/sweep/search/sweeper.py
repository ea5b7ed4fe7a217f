"""The Hydra sweeper for searches."""

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobStatus

from dqn.config.compose import CANNOT_COMPOSE, mistakes
from dqn.config.overrides import first_value
from dqn.config.preflight import folder_of, resolved
from dqn.errors import UserError, first_line
from dqn.storage.folder import RunFolder, seeds_of
from dqn.sweep.job import interrupted
from dqn.sweep.launcher import Count, JobLauncher, Natural
from dqn.sweep.search.samplers import Pruner, SearchSampler
from dqn.sweep.search.space import SearchSpace, space_of
from dqn.sweep.sweeper import JobSweeper, log_results

log = logging.getLogger(__name__)


class SearchSweeper(JobSweeper):
    """Searches for the values with the best result, then reruns the best settings on fresh seeds."""

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
        """Run all trials and rerun the best settings.

        Raises:
            SystemExit: the search is invalid, no trial has finished, or the rerun failed.
        """
        from dqn.sweep.search.study import storing

        folder = folder_of(self._config, "hydra.sweep.dir").absolute()
        try:
            space = self._space(arguments)
            most = self._sampler.max_trials(space.ranges) or self._n_trials
            with RunFolder(folder).locked(), storing(folder):
                succeeded = self._search(space, min(most, self._n_trials), folder)
        except UserError as error:
            with suppress(OSError):
                folder.rmdir()  # if no job started
            sys.exit(str(error))
        if not succeeded:
            sys.exit(1)

    def _space(self, arguments: list[str]) -> SearchSpace:
        """Return the search space after checking it; write nothing."""
        from dqn.sweep.search.study import require_optuna

        require_optuna()
        if not isinstance(self._launcher, JobLauncher):
            should = "hydra/launcher: should be processes, slurm or ray for a search"
            raise mistakes([should], "the command")
        overrides, loader = self.overrides(arguments), self._context.config_loader
        space = space_of(overrides)
        parser = OverridesParser.create(config_loader=loader)
        first = [str(first_value(one, parser).input_line) for one in overrides]
        try:  # checks the keys; the values are checked in each trial
            loader.load_sweep_config(self._config, first)
        except CANNOT_COMPOSE as error:
            raise mistakes([first_line(error)], "the search") from None
        return space

    def _search(self, space: SearchSpace, most: int, folder: Path) -> bool:
        """Return whether all trials have ended, some with a result, and the rerun has one if it is wanted."""
        from dqn.sweep.search.outcome import best_of, dashboard, log_summary, record_of, write_record
        from dqn.sweep.search.study import Trials, open_study, to_job

        config = resolved(self._config)
        study = open_study(folder, space, config)
        study.pruner = self._pruner()
        planner = self._launcher.planner(shared=space.fixed)
        trials = Trials(study=study, space=space, sampler=self._sampler, planner=planner, most=most)
        log.info("search in %s: %d trials, %d to run", planner.folder, most, trials.left())
        log.info("  %s", dashboard(folder))
        best = fresh = None
        try:
            self._launcher.run(trials.jobs(), trials.left())
            best = best_of(study)
            if best is not None and self._fresh_seeds and not trials.left():
                log.info("running the best settings on fresh seeds")
                seeds = [f"seed={seeds_of(config).stop}", f"num_seeds={self._fresh_seeds}"]
                fresh = planner.job([*space.overrides(best.params), *seeds], best.number)
                if fresh.state == "due":
                    self._launcher.run(iter([fresh]), 1)
        except KeyboardInterrupt:
            log.info(interrupted([to_job(trial, folder) for trial in study.trials]))
            raise
        jobs = [to_job(trial, folder) for trial in study.trials]
        log_results([*jobs, fresh] if fresh else jobs, folder, report=self._report)
        record = record_of(study, config, best, fresh)
        log_summary(record, best)
        write_record(folder, record)
        log.info("  %s", dashboard(folder))
        if trials.left():
            log.info(interrupted(jobs))
        return (
            not trials.left() and best is not None and (fresh is None or fresh.status == JobStatus.COMPLETED)
        )
