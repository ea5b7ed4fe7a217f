"""Runs the jobs of a sweep, a few at a time; a job that fails stops no other."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from dqn.config.launch import finished, interruption
from dqn.errors import UserError
from dqn.sweep.active import ActiveJob, seconds_left
from dqn.sweep.job import IN_USE, JobHandle, JobResult, SweepJob
from dqn.tracking.progress import open_progress

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
"""Seconds between checks for running jobs that have ended."""
WAIT_SECONDS = 1.0
"""Seconds between checks that read folders: locks of waiting jobs, and the returns of running ones."""
SILENCE_SECONDS = 300.0
"""Longest time without a line in the log of a sweep, whose jobs have logs too."""
GRACE_SECONDS = 20.0
"""Seconds that jobs get to stop before they are killed; a job stops after its current step."""


class Pool:
    """Runs the jobs of a sweep.

    Args:
        start: starts a job; an OSError or UserError fails that job only.
        n_jobs: number of jobs at a time.
        total: number of jobs, for the log.
    """

    def __init__(self, start: Callable[[SweepJob], JobHandle], *, n_jobs: int, total: int) -> None:
        self._start, self._n_jobs, self._total = start, n_jobs, total
        self._display = open_progress(unit="jobs done:", total=total, silence=SILENCE_SECONDS)
        self._active: list[ActiveJob] = []
        self._jobs: Iterator[SweepJob] = iter(())
        self._waiting: list[SweepJob] = []
        self._next_look = 0.0
        self._started = 0
        self._ended: list[SweepJob] = []

    def run(self, jobs: Iterator[SweepJob]) -> None:
        """Run jobs in order until all have ended; jobs whose folders are in use are retried later.

        Args:
            jobs: the next job is taken when a slot is free, so it may depend on earlier results.

        Raises:
            KeyboardInterrupt: the user interrupted the sweep; no job is running.
        """
        self._jobs = jobs
        # An exception of an interruption could break a write to a search's database.
        with closing(self._display), interruption(raises=False) as stop:
            self._display.start(0)
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
        if self._display.due():
            self._display.show(len(self._ended), self._text(), self._left())
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + WAIT_SECONDS
        for active in self._active:
            active.look()
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
                self._ended.append(job)
                return
            running = [active.job.run_folder.path for active in self._active]
            if folder.in_use() or folder.path in running:  # 1e-3 and 0.001 are the same job
                self._wait(job)
                return
            before = folder.stored_status()
            handle = self._start(job)
        except (OSError, UserError) as error:
            job.fail(str(error))
            self._log_end(job, str(job))
            return
        self._started += 1
        job.state = "running"
        self._active.append(ActiveJob(job, handle, before, since=time.monotonic()))
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
        job.seconds = active.elapsed()
        if result.code == IN_USE:
            self._wait(job)
        elif finished(job.config, job.run_folder):  # for any exit code: its last output may have failed
            value = job.run_folder.result()
            job.succeed("finished", value)
            self._log_end(job, f"{job.name}: {value:.2f} after {job.seconds:.0f} s")
        elif active.stop_reason:
            job.fail(active.stop_reason, "pruned")
            self._log_end(job, f"{job.name}: {job.reason}")
            with suppress(UserError, OSError), job.run_folder.locked():
                job.run_folder.update_status(error=f"pruned: {job.reason}")
        else:
            reason = active.failure(result)
            job.fail(reason, "interrupted" if reason == "interrupted" else "failed")
            self._log_end(job, str(job))

    def _log_end(self, job: SweepJob, text: str) -> None:
        """Log that a job has ended, and how far the sweep is."""
        self._ended.append(job)
        done = f"{len(self._ended)} of {self._total} done"
        self._display.log(f"{job.state:<9} {text} | {done}", self._left())

    def _text(self) -> str:
        """Return the number of jobs by state, of those that are not done or have failed."""
        queued = sum(active.is_queued for active in self._active)
        failed = sum(job.state == "failed" for job in self._ended)
        counts = {"running": len(self._active) - queued, "not yet running": queued}
        counts |= {"waiting": len(self._waiting), "failed": failed}
        return ", ".join(f"{number} {state}" for state, number in counts.items() if number)

    def _left(self) -> float | None:
        """Return the seconds until all jobs are done, None if unknown."""
        durations = [
            job.seconds for job in self._ended if job.seconds and job.state in ("finished", "pruned")
        ]
        unstarted = self._total - len(self._ended) - len(self._active)
        return seconds_left(self._active, durations, unstarted=unstarted, n_jobs=self._n_jobs)

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
