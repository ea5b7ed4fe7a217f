"""Hydra's launcher of sweeps: jobs in processes of their own."""

import logging
from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Gt
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dqn.config.sweep.job import SweepJob

log = logging.getLogger(__name__)


class Processes(Launcher):
    """Runs each job of a sweep as a process of its own, a few at a time, and the unfinished ones only.

    All jobs are composed and checked first; one whose configuration is wrong counts as failed. The other ones
    train in their folders, from their last checkpoints where they have such. What Hydra would call for a job,
    its task function, is not called: a job is its resolved configuration.
    """

    def __init__(self, *, n_jobs: Annotated[int, Gt(0)]) -> None:
        self._n_jobs = n_jobs
        self._config: Any = None
        self._context: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._config, self._context = config, hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Return the jobs when all have ended, in their order.

        Raises:
            KeyboardInterrupt: so were the jobs; they can go on.
        """
        from dqn.config.launch import interruption
        from dqn.config.sweep.plan import Planner
        from dqn.config.sweep.pool import Pool, skipped
        from dqn.config.sweep.table import count, the_same_command

        setup_globals()
        configure_log(self._config.hydra.job_logging, self._config.hydra.verbose)
        planner = Planner(self._config, self._context.config_loader)
        jobs = [planner.job(words, initial_job_idx + i) for i, words in enumerate(job_overrides)]
        log.info("jobs in %s: %d, %d at a time", planner.folder, len(jobs), self._n_jobs)
        for job in jobs:
            if job.state == "failed":
                log.info("failed    %s: %s", job.name, job.reason)
            else:
                skipped(job)
        with interruption() as stop:
            try:
                Pool(self._start, self._n_jobs).run(jobs, stop)
            except KeyboardInterrupt:
                log.info("interrupted: %s; the same command goes on: %s", count(jobs), the_same_command())
                raise
        return jobs

    def _start(self, job: SweepJob) -> Any:
        from dqn.config.sweep.process import Process

        return Process(job, {str(k): str(v) for k, v in self._config.hydra.job.env_set.items()})
