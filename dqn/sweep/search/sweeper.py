"""The Hydra sweeper for searches."""

import logging
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.core.utils import JobStatus

from dqn.config.compose import CANNOT_COMPOSE, mistakes
from dqn.config.overrides import first_value
from dqn.config.preflight import resolved
from dqn.errors import first_line
from dqn.storage.folder import RunFolder, seeds_of
from dqn.sweep.job import SweepJob, interrupted
from dqn.sweep.launcher import Count, JobLauncher, Natural
from dqn.sweep.search.samplers import Pruner, SearchSampler
from dqn.sweep.search.space import SearchSpace, space_of
from dqn.sweep.sweeper import JobSweeper

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

    def run(self, overrides: list[Override], folder: Path) -> bool:
        """Run all trials and rerun the best settings; return whether both have given a result."""
        from dqn.sweep.search.study import require_optuna, storing

        require_optuna()
        space = self._space(overrides)
        most = self._sampler.max_trials(space.ranges) or self._n_trials
        folder = folder.absolute()
        with RunFolder(folder).locked(), storing(folder):
            return self._search(space, min(most, self._n_trials), folder)

    def _space(self, overrides: list[Override]) -> SearchSpace:
        """Return the search space after checking it; write nothing."""
        if not isinstance(self._launcher, JobLauncher):
            should = "hydra/launcher: should be processes, slurm or ray for a search"
            raise mistakes([should], "the command")
        space = space_of(overrides)
        first = [str(first_value(one, self._parser()).input_line) for one in overrides]
        try:  # checks the keys; the values are checked in each trial
            self._context.config_loader.load_sweep_config(self._config, first)
        except CANNOT_COMPOSE as error:
            raise mistakes([first_line(error)], "the search") from None
        return space

    def _search(self, space: SearchSpace, most: int, folder: Path) -> bool:
        """Return whether all trials have ended, some with a result, and the rerun has one if it is wanted."""
        from dqn.sweep.search.outcome import best_of, dashboard, log_summary, record_of, write_record
        from dqn.sweep.search.study import open_study, to_job, trial_jobs, trials_left

        config = resolved(self._config)
        study = open_study(folder, space, config)
        study.pruner = self._pruner()
        planner = self._launcher.planner(shared=space.fixed)
        jobs = trial_jobs(study, space=space, sampler=self._sampler, planner=planner, most=most)
        log.info("search in %s: %d trials, %d to run", planner.folder, most, trials_left(study, most))
        log.info("  %s", dashboard(folder))
        fresh = None
        try:
            self._launcher.run(jobs, trials_left(study, most))
            best, unfinished = best_of(study), trials_left(study, most)
            if best is not None and self._fresh_seeds and not unfinished:
                log.info("running the best settings on fresh seeds")
                seeds = [f"seed={seeds_of(config).stop}", f"num_seeds={self._fresh_seeds}"]
                fresh = SweepJob(overrides=[*space.overrides(best.params), *seeds])
                planner.plan(fresh, best.number)
                if fresh.state == "due":
                    self._launcher.run(iter([fresh]), 1)
        except KeyboardInterrupt:
            log.info(interrupted([to_job(trial, folder) for trial in study.trials]))
            raise
        ended = [to_job(trial, folder) for trial in study.trials]
        self.log_results([*ended, fresh] if fresh else ended, folder)
        record = record_of(study, config, best, fresh)
        log_summary(record, best)
        write_record(folder, record)
        if unfinished:
            log.info(interrupted(ended))
        return not unfinished and best is not None and (fresh is None or fresh.status == JobStatus.COMPLETED)
