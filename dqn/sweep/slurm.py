"""The launcher for Slurm, through submitit, whose local executor uses processes of this machine instead."""

import os
import platform
import sys
from typing import Annotated, Any, Literal

from annotated_types import Gt

from dqn.errors import UserError, first_line, needs_extra
from dqn.sweep.job import JobHandle, JobResult, JobSpec, SweepJob
from dqn.sweep.launcher import Count, JobLauncher, Natural

MAX_STARTS = 1000
"""Most starts of a job that exceeds its time limit; each start resumes the previous one."""


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
        """Submit a job; raise UserError if submitit or Slurm is not installed."""
        with needs_extra("hydra/launcher=slurm", "submitit", "slurm"):
            import submitit
        try:
            folder = job.run_folder.path.parent / ".submitit"
            executor = submitit.AutoExecutor(folder, cluster=self._cluster, slurm_max_num_timeout=MAX_STARTS)
            executor.update_parameters(name=job.name, **self._parameters)
            return SlurmHandle(executor.submit(SlurmTask(), job.spec(), self._env()))
        except RuntimeError as error:  # such as a machine without sbatch
            raise UserError(first_line(error)) from None


class SlurmHandle:
    """A job that is queued or running in Slurm. If the sweep is killed, it continues."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def ended(self) -> JobResult | None:
        if not self._job.done():
            return None
        error = self._job.exception()
        return JobResult(self._job.result()) if error is None else JobResult(1, first_line(error))

    def ask_to_stop(self) -> None:
        self._job.cancel()

    def kill(self) -> None:
        """Cancel the job; Slurm kills a job that does not stop."""
        self._job.cancel()


class SlurmTask:
    """The function that submitit calls on the node."""

    def __call__(self, spec: JobSpec, env: dict[str, str]) -> int:
        """Train a run, print to its log, and return the exit code."""
        from dqn.sweep.process import work

        os.environ.update(env)
        with spec.open_log(platform.node()) as log:
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
        return work(spec)

    def checkpoint(self, spec: JobSpec, env: dict[str, str]) -> Any:
        """Return the submission that resumes a job whose time is over."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, spec, env)
