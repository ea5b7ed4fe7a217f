"""A job as one of Slurm's, by submitit, whose local executor does the same with processes of this machine."""

import os
import platform
import sys
from typing import Any

from dqn.errors import UserError, first_line
from dqn.sweep.job import JobResult, JobSpec, SweepJob

MAX_STARTS = 1000
"""Of a job that its time is too short for: each goes on where the one before ended."""


def submit(job: SweepJob, cluster: str, parameters: dict[str, Any], env: dict[str, str]) -> "SlurmHandle":
    """Return a job that was submitted.

    Raises:
        UserError: submitit or Slurm is not there.
    """
    try:
        import submitit
    except ImportError:
        raise UserError(
            "hydra/launcher=slurm needs submitit, which the extra `slurm` brings:"
            ' pip install -c constraints.txt -e ".[slurm]"'
        ) from None
    assert job.folder is not None
    try:
        folder = job.folder.path.parent / ".submitit"
        executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=MAX_STARTS)
        executor.update_parameters(name=job.name, **parameters)
        return SlurmHandle(executor.submit(SlurmTask(), job.spec(sys.argv), env))
    except RuntimeError as error:  # such as: no sbatch on this machine
        raise UserError(first_line(error)) from None


class SlurmHandle:
    """A job in the queue or at work. It goes on if the sweep is killed; then its folder is in use."""

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
        """Do the same: Slurm itself ends jobs that do not stop."""
        self._job.cancel()


class SlurmTask:
    """What runs on the node."""

    def __call__(self, spec: JobSpec, env: dict[str, str]) -> int:
        """Train a run, print to its log, and return the exit code."""
        from dqn.sweep.worker import work

        os.environ.update(env)
        with spec.open_log(platform.node()) as log:
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
        return work(spec)

    def checkpoint(self, spec: JobSpec, env: dict[str, str]) -> Any:
        """Return what Slurm starts when the time of a job is over: the same, which goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, spec, env)
