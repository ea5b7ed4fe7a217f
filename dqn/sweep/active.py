"""The running jobs of a sweep: how each ends, how far it is, and when all will be done."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from dqn.errors import exit_reason
from dqn.sweep.job import JobHandle, JobResult, SweepJob

if TYPE_CHECKING:
    from dqn.storage.schema import Status


@dataclass
class ActiveJob:
    """A job that was started: queued or running."""

    job: SweepJob
    handle: JobHandle
    before: "Status"
    """Status of the run folder before the job started."""
    since: float
    """Time of the start."""
    stop_reason: str = ""
    is_queued: bool = True
    """True until its run writes its status."""
    duration: float | None = None
    """Seconds that the whole job takes at the speed it had until its latest checkpoint."""
    _tick: int = 0

    def look(self) -> None:
        """Read from the folder, which may be of any machine, how far the run is."""
        status = self.job.run_folder.stored_status()
        self.is_queued = self.is_queued and status == self.before
        before, now = self.before.get("progress"), status.get("progress")
        first = before["tick"] if before else 0
        if now and now["tick"] > max(first, self._tick):
            self._tick = now["tick"]
            self.duration = self.elapsed() * (now["total"] - first) / (now["tick"] - first)

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.since

    def failure(self, result: JobResult) -> str:
        """Return why the job has no result, "interrupted" if it was asked to stop."""
        status = self.job.run_folder.stored_status()
        state = "" if status == self.before else status.get("state")
        if state == "interrupted" or -result.code in (signal.SIGTERM, signal.SIGINT):
            return "interrupted"
        if result.code < 0:
            return exit_reason(result.code)
        if state == "failed" and status.get("error"):
            return str(status["error"])
        return result.error or last_line(self.job) or exit_reason(result.code)


def last_line(job: SweepJob) -> str:
    """Return the last line of a job's log that is not blank, "" if there is none."""
    if job.log is None:
        return ""
    with job.log.open("rb") as file:
        file.seek(max(0, job.log.stat().st_size - 10_000))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def seconds_left(
    active: Sequence[ActiveJob], durations: Sequence[float], *, unstarted: int, n_jobs: int
) -> float | None:
    """Return the seconds until all jobs are done, None if no job says how long jobs take.

    Args:
        active: the running jobs; one that has no checkpoint yet takes as long as the median job.
        durations: of the jobs that have ended.
        unstarted: number of jobs that follow.
        n_jobs: number of jobs at a time.
    """
    known = durations or [one.duration for one in active if one.duration is not None]
    if not known:
        return None
    typical = median(known)
    left = [max(0.0, (one.duration or typical) - one.elapsed()) for one in active]
    return max([*left, (sum(left) + typical * unstarted) / n_jobs])
