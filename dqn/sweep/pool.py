"""Runs the jobs of a sweep, a few at a time; a job that fails stops no other."""

import itertools
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dqn.config.launch import finished, interruption
from dqn.errors import UserError, exit_reason
from dqn.sweep.job import IN_USE, JobHandle, JobResult, SweepJob

if TYPE_CHECKING:
    from dqn.storage.schema import Status

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
"""Seconds between checks for running jobs that have ended."""
WAIT_SECONDS = 1.0
"""Seconds between checks that read folders: locks of waiting jobs, and the returns of running ones."""
GRACE_SECONDS = 20.0
"""Seconds that jobs get to stop before they are killed; a job stops after its current step."""


@dataclass
class ActiveJob:
    """A running job."""

    job: SweepJob
    handle: JobHandle
    before: "Status"
    """Status of the run folder before the job started."""
    since: float = field(default_factory=time.monotonic)
    stop_reason: str = ""

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


class Pool:
    """Runs the jobs of a sweep.

    Args:
        start: starts a job; an OSError or UserError fails that job only.
        n_jobs: number of jobs at a time.
    """

    def __init__(self, start: Callable[[SweepJob], JobHandle], n_jobs: int) -> None:
        self._start, self._n_jobs = start, n_jobs
        self._active: list[ActiveJob] = []
        self._jobs: Iterator[SweepJob] = iter(())
        self._waiting: list[SweepJob] = []
        self._next_look = 0.0
        self._started, self._total = 0, 0

    def run(self, jobs: Iterator[SweepJob], total: int) -> None:
        """Run jobs in order until all have ended; jobs whose folders are in use are retried later.

        Args:
            jobs: the next job is taken when a slot is free, so it may depend on earlier results.
            total: number of jobs, for the log.

        Raises:
            KeyboardInterrupt: the user interrupted the sweep; no job is running.
        """
        self._jobs, self._total = jobs, total
        with interruption(raises=False) as stop:  # an exception could break a write to a search's database
            try:
                while not stop.is_set():
                    self._look()
                    if len(self._active) < self._n_jobs and (job := next(self._jobs, None)):
                        self._begin(job)
                    elif self._active or self._waiting:
                        time.sleep(LOOK_SECONDS)
                    else:
                        break
                if stop.is_set():
                    raise KeyboardInterrupt
            except BaseException:
                self._stop_all()
                raise

    def _look(self) -> None:
        """Handle jobs that have ended, stop those that have a reason, and look for freed folders."""
        for active in self._active.copy():
            if result := active.handle.ended():
                self._active.remove(active)
                self._settle(active, result)
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + WAIT_SECONDS
        for active in self._active:
            if not active.stop_reason and (reason := active.job.stop_reason()):
                active.stop_reason = reason
                active.handle.ask_to_stop()
        if free := [job for job in self._waiting if not job.run_folder.in_use()]:
            self._waiting = [job for job in self._waiting if job not in free]
            self._jobs = itertools.chain(free, self._jobs)

    def _begin(self, job: SweepJob) -> None:
        """Start a job, unless it has finished since or its folder is in use."""
        folder = job.run_folder
        try:
            if skip_finished(job):
                return
            running = [active.job.run_folder.path for active in self._active]
            if folder.in_use() or folder.path in running:  # 1e-3 and 0.001 are the same job
                self._wait(job)
                return
            before = folder.stored_status()
            handle = self._start(job)
        except (OSError, UserError) as error:
            job.fail(str(error))
            log_failure(job)
            return
        self._started += 1
        job.state = "running"
        self._active.append(ActiveJob(job, handle, before))
        resumed = " (resumed)" if before else ""
        log.info("started   %s of %s: %s%s", self._started, self._total, job.name, resumed)

    def _wait(self, job: SweepJob) -> None:
        if job.state != "waiting":
            log.info("waiting   %s: in use by another process", job.name)
        job.state = "waiting"
        self._waiting.append(job)

    def _settle(self, active: ActiveJob, result: JobResult) -> None:
        """Record how a job ended."""
        job = active.job
        job.seconds = time.monotonic() - active.since
        if result.code == IN_USE:
            self._wait(job)
        elif finished(job.config, job.run_folder):  # for any exit code: its last output may have failed
            value = job.run_folder.result()
            job.succeed("finished", value)
            log.info("finished  %s: %.2f after %.0f s", job.name, value, job.seconds)
        elif active.stop_reason:
            job.fail(active.stop_reason, "pruned")
            log.info("pruned    %s: %s", job.name, job.reason)
            with suppress(UserError, OSError), job.run_folder.locked():
                job.run_folder.update_status(error=f"pruned: {job.reason}")
        else:
            reason = active.failure(result)
            job.fail(reason, "interrupted" if reason == "interrupted" else "failed")
            log_failure(job)

    def _stop_all(self) -> None:
        """Stop the running jobs as interrupted runs; kill those that do not stop in time."""
        try:
            for active in self._active:
                active.handle.ask_to_stop()
            deadline = time.monotonic() + GRACE_SECONDS
            while any(one.handle.ended() is None for one in self._active) and time.monotonic() < deadline:
                time.sleep(LOOK_SECONDS / 2)
        finally:
            for active in self._active:
                if active.handle.ended() is None:
                    active.handle.kill()
            for active in self._active:
                if not skip_finished(active.job):  # it may have finished just now
                    active.job.fail("interrupted", "interrupted")


def last_line(job: SweepJob) -> str:
    """Return the last line of a job's log that is not blank, "" if there is none."""
    if job.log is None:
        return ""
    with job.log.open("rb") as file:
        file.seek(max(0, job.log.stat().st_size - 10_000))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def skip_finished(job: SweepJob) -> bool:
    """Mark a job as skipped if its run has finished already; return whether it has."""
    if not finished(job.config, job.run_folder):
        return False
    result = job.run_folder.result()
    job.succeed("skipped", result)
    log.info("skipped   %s: already finished, result %.2f", job.name, result)
    return True


def log_failure(job: SweepJob) -> None:
    log.info("%-9s %s", job.state, job)
