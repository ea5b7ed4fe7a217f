"""Hydra's launchers of sweeps: jobs in processes of their own, here or by Slurm or Ray."""

import abc
import logging
import platform
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt, MultipleOf
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dqn.errors import UserError
from dqn.sweep.job import SweepJob

if TYPE_CHECKING:
    from dqn.sweep.job import JobHandle
    from dqn.sweep.planner import Planner
    from dqn.sweep.pool import StopRule

log = logging.getLogger(__name__)

Count = Annotated[int, Gt(0)]
Share = Annotated[float, Gt(0), Lt(1), MultipleOf(1e-4)]
"""Of a processor; Ray counts in these parts."""


class JobLauncher(Launcher, abc.ABC):
    """Runs the unfinished jobs of a sweep, a few at a time, each where it can harm no other.

    All jobs are composed and checked first; one whose configuration is wrong counts as failed. The other ones
    train in their folders, from their last checkpoints where they have such. What Hydra would call for a job,
    its task function, is not called: a job is its resolved configuration.

    Args:
        n_jobs: at a time.
    """

    def __init__(self, n_jobs: int) -> None:
        self._n_jobs = n_jobs
        self._config: Any = None
        self._context: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._config, self._context = config, hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Return the jobs when all have ended, in their order.

        Raises:
            KeyboardInterrupt: so were the jobs; they can go on.
            SystemExit: what runs the jobs is not to be had.
        """
        from dqn.sweep.pool import never_stop, skip_finished
        from dqn.sweep.table import count, the_same_command

        planner = self.planner()
        jobs = [planner.job(words, initial_job_idx + i) for i, words in enumerate(job_overrides)]
        log.info("jobs in %s: %d, %d at a time", planner.folder, len(jobs), self._n_jobs)
        for job in jobs:
            if job.state == "failed":
                log.info("failed    %s: %s", job.name, job.reason)
            else:
                skip_finished(job)
        due = [job for job in jobs if job.state == "due"]
        try:
            self.run(iter(due), len(due), never_stop)
        except KeyboardInterrupt:
            log.info("interrupted: %s; the same command goes on: %s", count(jobs), the_same_command())
            raise
        return jobs

    def planner(self) -> "Planner":
        """Return what makes the jobs of this sweep."""
        from dqn.sweep.planner import Planner

        setup_globals()
        configure_log(self._config.hydra.job_logging, self._config.hydra.verbose)
        return Planner(self._config, self._context.config_loader)

    def run(self, jobs: Iterator[SweepJob], total: int, stop_rule: "StopRule") -> None:
        """Run jobs until all have ended.

        Args:
            jobs: planned; each is asked for when there is room for it.
            total: their number, for the log.
            stop_rule: asked about the running ones.

        Raises:
            KeyboardInterrupt: so were the jobs; they can go on.
            SystemExit: what runs the jobs is not to be had.
        """
        from dqn.config.launch import interruption
        from dqn.sweep.pool import Pool

        if total:
            self._prepare()
        with interruption() as stop:
            Pool(self._start, self._n_jobs, stop_rule).run(jobs, total, stop)

    def _prepare(self) -> None:
        """Make ready what runs the jobs; it comes before `interruption`, since it may change how signals act.

        Raises:
            SystemExit: it is not to be had.
        """

    @abc.abstractmethod
    def _start(self, job: SweepJob) -> "JobHandle":
        """Let a job begin; an OSError or UserError is a failure of that job."""

    def _variables(self) -> dict[str, str]:
        """Return the variables that the user wants the jobs to have."""
        return {str(key): str(value) for key, value in self._config.hydra.job.env_set.items()}


class Processes(JobLauncher):
    """Runs each job of a sweep as a process of its own on this machine.

    Args:
        n_jobs: at a time.
    """

    def __init__(self, *, n_jobs: Count) -> None:
        super().__init__(n_jobs)

    def _start(self, job: SweepJob) -> "JobHandle":
        from dqn.sweep.process import Process, same_imports

        return Process(job.spec(sys.argv), same_imports() | self._variables(), platform.node())


class Slurm(JobLauncher):
    """Runs each job of a sweep as one of Slurm's, by submitit; this process waits for them.

    Args:
        n_jobs: in the queue at a time.
        executor: local is processes of this machine, by which the rest is tried out.
        timeout_min: minutes that a job may take; Slurm starts it anew then, and it goes on.
        cpus_per_task: of a job.
        gpus_per_node: of a job.
        mem_gb: of a job.
        partition: of the cluster; None: its own choice.
        additional: further parameters of sbatch.
    """

    def __init__(
        self,
        *,
        n_jobs: Count,
        executor: Literal["slurm", "local"],
        timeout_min: Count,
        cpus_per_task: Count,
        gpus_per_node: Annotated[int, Ge(0)],
        mem_gb: Annotated[float, Gt(0)],
        partition: str | None,
        additional: dict[str, Any],
    ) -> None:
        super().__init__(n_jobs)
        self._cluster = executor
        self._parameters: dict[str, Any] = {
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
            "mem_gb": mem_gb,
            "slurm_partition": partition,
            "slurm_additional_parameters": dict(additional),
        }

    def _start(self, job: SweepJob) -> "JobHandle":
        from dqn.sweep.slurm import submit

        return submit(job, self._cluster, self._parameters, self._variables())


class Ray(JobLauncher):
    """Runs each job of a sweep as a task of Ray's, on this machine or a cluster; all end with this process.

    Args:
        n_jobs: in the queue at a time.
        address: of a cluster that runs; local: one of its own.
        num_cpus: of a job.
        num_gpus: of a job.
    """

    def __init__(
        self,
        *,
        n_jobs: Count,
        address: str,
        num_cpus: Count | Share,
        num_gpus: Annotated[int, Ge(0)] | Share,
    ) -> None:
        super().__init__(n_jobs)
        self._address = address
        self._resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}

    def _prepare(self) -> None:
        from dqn.sweep.ray import connect

        try:
            connect(self._address, **self._resources)
        except UserError as error:
            sys.exit(str(error))

    def _start(self, job: SweepJob) -> "JobHandle":
        from dqn.sweep.ray import RayHandle

        return RayHandle(job, self._resources, self._variables())
