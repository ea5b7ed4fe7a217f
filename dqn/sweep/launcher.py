"""The base of Hydra launchers for the jobs of sweeps, and the launcher for processes on this machine."""

import abc
import logging
import platform
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt
from hydra._internal.callbacks import Callbacks
from hydra.core.utils import configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dqn.config.compose import compose
from dqn.sweep import process
from dqn.sweep.job import JobHandle, SweepJob, interrupted
from dqn.sweep.planner import Planner
from dqn.tracking.progress import open_progress

log = logging.getLogger(__name__)

Count = Annotated[int, Gt(0)]
Natural = Annotated[int, Ge(0)]
"""The same as in `dqn.types`, whose import of NumPy would slow every command: Hydra imports all plugins."""


class JobLauncher(Launcher, abc.ABC):
    """Runs the unfinished jobs of a sweep, a few at a time, each in a separate process.

    All jobs are composed and checked first; a job with an invalid configuration counts as failed. The others
    train in their folders, from their last checkpoints if there are any. Hydra's task function is not called:
    a job is its resolved configuration.

    conf/hydra/launcher describes the arguments of all launchers.
    """

    def __init__(self, *, n_jobs: Count) -> None:
        self._n_jobs = n_jobs
        self._config: Any = None
        self._context: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._config, self._context = config, hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[SweepJob]:
        """Run all jobs and return them in order.

        Raises:
            KeyboardInterrupt: the user interrupted the jobs; the same command resumes them.
            SystemExit: Ray is not available.
        """
        from dqn.sweep.pool import log_failure, skip_finished  # import NumPy

        planner = self.planner(shared=set.intersection(*map(set, job_overrides)))
        jobs = [SweepJob(overrides=list(overrides)) for overrides in job_overrides]
        with closing(open_progress(unit="checking: job", total=len(jobs))) as progress:
            progress.start(0)
            for number, job in enumerate(jobs):
                planner.plan(job, initial_job_idx + number)
                if progress.due():
                    progress.show(number + 1, "", None)
        at_a_time = min(self._n_jobs, len(jobs))
        log.info("jobs in %s: %d, %d at a time", planner.folder, len(jobs), at_a_time)
        for job in jobs:
            if job.state == "failed":
                log_failure(job)
            else:
                skip_finished(job)
        due = [job for job in jobs if job.state == "due"]
        try:
            self.run(iter(due), len(due))
        except KeyboardInterrupt:
            log.info(interrupted(jobs))
            raise
        return jobs

    def planner(self, *, shared: Collection[str]) -> Planner:
        """Configure the log and return the planner of this sweep; `shared` are overrides of all jobs."""
        setup_globals()
        configure_log(self._config.hydra.job_logging, self._config.hydra.verbose)
        return Planner(self._config, self._context.config_loader, shared)

    def run(self, jobs: Iterator[SweepJob], total: int) -> None:
        """Run planned jobs, `total` in number, until all have ended; raise the same errors as `launch`."""
        from dqn.sweep.pool import Pool

        if total:
            self._prepare()  # before the pool, which handles signals, since it may change their handlers
        Pool(self._start, n_jobs=self._n_jobs, total=total).run(jobs)

    def _prepare(self) -> None:
        """Connect to the launcher's cluster; raise SystemExit if it is not available."""

    @abc.abstractmethod
    def _start(self, job: SweepJob) -> JobHandle:
        """Start a job; an OSError or UserError fails that job only."""

    def _env(self) -> dict[str, str]:
        """Return the environment variables that the user sets for jobs."""
        return {str(key): str(value) for key, value in self._config.hydra.job.env_set.items()}


class Processes(JobLauncher):
    """Runs each job as a separate process on this machine."""

    def _start(self, job: SweepJob) -> JobHandle:
        return process.Process(job.spec(), process.same_imports() | self._env(), platform.node())


def run_settings(
    settings: Sequence[Sequence[str]], folder: Path, *, common: Sequence[str], n_jobs: int
) -> list[SweepJob]:
    """Train each setting, the overrides of a run, as a job in `folder`, and return the jobs.

    `common` are overrides of all runs. The same call continues interrupted runs; Ctrl-C raises
    KeyboardInterrupt.
    """
    master = compose([f"hydra.sweep.dir={folder}", *common], multirun=True)
    launcher = Processes(n_jobs=n_jobs)
    context = HydraContext(config_loader=master.loader, callbacks=Callbacks())
    launcher.setup(hydra_context=context, task_function=lambda _: None, config=master.config)
    return launcher.launch([[*common, *setting] for setting in settings], initial_job_idx=0)
