"""A job as a job of Slurm, through submitit; its local executor uses processes of this machine instead."""

import os
import platform
import sys
from typing import Any

from dqn.errors import UserError, first_line, needs_extra
from dqn.sweep.job import JobResult, JobSpec, SweepJob

MAX_STARTS = 1000
"""Most starts of a job that exceeds its time limit; each start resumes the previous one."""


class SlurmHandle:
    """A job that is queued or running in Slurm. If the sweep is killed, it continues.

    Raises:
        UserError: submitit or Slurm is not installed.
    """

    def __init__(self, job: SweepJob, cluster: str, parameters: dict[str, Any], env: dict[str, str]) -> None:
        with needs_extra("hydra/launcher=slurm", "submitit", "slurm"):
            import submitit
        try:
            folder = job.run_folder.path.parent / ".submitit"
            executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=MAX_STARTS)
            executor.update_parameters(name=job.name, **parameters)
            self._job = executor.submit(SlurmTask(), job.spec(), env)
        except RuntimeError as error:  # such as a machine without sbatch
            raise UserError(first_line(error)) from None

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
