"""Hydra launchers: run the jobs of a sweep in separate processes, on this machine or by Slurm or Ray."""

import abc
import logging
import platform
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt, MultipleOf
from hydra._internal.callbacks import Callbacks
from hydra.core.utils import configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dqn.config.compose import compose
from dqn.errors import UserError
from dqn.sweep.job import JobHandle, SweepJob, interrupted
from dqn.sweep.planner import Planner

log = logging.getLogger(__name__)

Count = Annotated[int, Gt(0)]
Natural = Annotated[int, Ge(0)]
"""The same as in `dqn.types`, whose import of NumPy would slow every command: Hydra imports all plugins."""
Share = Annotated[float, Gt(0), Lt(1), MultipleOf(1e-4)]
"""Share of a processor; 1e-4 is Ray's unit."""


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
        jobs = [planner.job(overrides, initial_job_idx + i) for i, overrides in enumerate(job_overrides)]
        log.info("jobs in %s: %d, %d at a time", planner.folder, len(jobs), self._n_jobs)
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
        Pool(self._start, self._n_jobs).run(jobs, total)

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
        from dqn.sweep.process import Process, same_imports

        return Process(job.spec(), same_imports() | self._env(), platform.node())


class Slurm(JobLauncher):
    """Runs each job as a job of Slurm, through submitit; this process waits for them."""

    def __init__(
        self,
        *,
        n_jobs: Count,
        executor: Literal["slurm", "local"],
        timeout_min: Count,
        cpus_per_task: Count,
        gpus_per_node: Natural,
        mem_gb: Annotated[float, Gt(0)],
        partition: str | None,
        additional: dict[str, Any],
    ) -> None:
        super().__init__(n_jobs=n_jobs)
        self._cluster = executor
        self._parameters: dict[str, Any] = {
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
            "mem_gb": mem_gb,
            "slurm_partition": partition,
            "slurm_additional_parameters": dict(additional),
        }

    def _start(self, job: SweepJob) -> JobHandle:
        from dqn.sweep.slurm import SlurmHandle

        return SlurmHandle(job, self._cluster, self._parameters, self._env())


class Ray(JobLauncher):
    """Runs each job as a task of Ray, on this machine or a cluster; all tasks end with this process."""

    def __init__(
        self, *, n_jobs: Count, address: str, num_cpus: Count | Share, num_gpus: Natural | Share
    ) -> None:
        super().__init__(n_jobs=n_jobs)
        self._address = address
        self._resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}

    def _prepare(self) -> None:
        from dqn.sweep.ray import connect

        try:
            connect(self._address, **self._resources)
        except UserError as error:
            sys.exit(str(error))

    def _start(self, job: SweepJob) -> JobHandle:
        from dqn.sweep.ray import RayHandle

        return RayHandle(job, self._resources, self._env())


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
