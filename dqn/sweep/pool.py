"""Some jobs at a time, until all have ended: one that fails takes no other with it."""

import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from dqn.config.launch import finished
from dqn.errors import UserError
from dqn.storage.folder import State
from dqn.sweep.job import IN_USE, JobHandle, JobResult, SweepJob
from dqn.sweep.table import relative

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
"""From one look at the running jobs to the next."""
WAIT_SECONDS = 1.0
"""From one look at folders, those that others work on and those of the running jobs, to the next."""
GRACE_SECONDS = 20.0
"""Time that jobs have to end, once they are asked to; each ends within the step that it is at."""

StopRule = Callable[[SweepJob], str]
"""Returns the reason why a running job is to stop before its time; "": it is not."""


def never_stop(job: SweepJob) -> str:
    """Let each job come to its end."""
    return ""


class ActiveJob:
    """A job at work, since when, and what its status was before."""

    def __init__(self, job: SweepJob, handle: JobHandle, before: State) -> None:
        self.job, self.handle, self.before = job, handle, before
        self.since = time.monotonic()
        self.stop_reason = ""

    def failure(self, result: JobResult) -> str:
        """Return why the job failed."""
        if result.code < 0:
            known = {one.value: one.name for one in signal.Signals}
            return f"killed by {known.get(-result.code, f'signal {-result.code}')}"
        status = self.job.run_folder.stored_status()
        if status != self.before and status.get("state") == "interrupted":
            return "interrupted"
        if status != self.before and status.get("state") == "failed" and status.get("error"):
            return str(status["error"])
        return result.error or last_line(self.job) or f"ended with the exit code {result.code}"


class Pool:
    """Runs the jobs of a sweep.

    Args:
        start: lets a job work; an OSError or UserError is a failure of that job.
        n_jobs: at a time.
        stop_rule: asked again and again about each running job.
    """

    def __init__(self, start: Callable[[SweepJob], JobHandle], n_jobs: int, stop_rule: StopRule) -> None:
        self._start, self._n_jobs, self._stop_rule = start, n_jobs, stop_rule
        self._active: list[ActiveJob] = []
        self._jobs: Iterator[SweepJob] = iter(())
        self._due: deque[SweepJob] = deque()
        """Those that had to wait, and need not any more."""
        self._waiting: list[SweepJob] = []
        self._next_look = 0.0
        self._started, self._total = 0, 0

    def run(self, jobs: Iterator[SweepJob], total: int, stop: threading.Event) -> None:
        """Run jobs in their order; those that others work on come last.

        Args:
            jobs: each is asked for when there is room for it, so it may depend on the ends of earlier ones.
            total: their number, for the log.
            stop: ends all.

        Raises:
            KeyboardInterrupt: the user, or `stop`, asked for it; no job works any more.
        """
        self._jobs, self._total = jobs, total
        try:
            while True:
                if stop.is_set():
                    raise KeyboardInterrupt
                self._look()
                while len(self._active) < self._n_jobs and (job := self._next()):
                    self._begin(job)
                if not self._active and not self._waiting:
                    return
                time.sleep(LOOK_SECONDS)
        except BaseException:
            self._end_all()
            raise

    def _next(self) -> SweepJob | None:
        return self._due.popleft() if self._due else next(self._jobs, None)

    def _look(self) -> None:
        """See which jobs have ended or should, and which folders nobody works on any more."""
        for active in self._active.copy():
            if result := active.handle.ended():
                self._active.remove(active)
                self._settle(active, result)
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + WAIT_SECONDS
        for active in self._active:
            if not active.stop_reason and (reason := self._stop_rule(active.job)):
                active.stop_reason = reason
                active.handle.ask_to_stop()
        free = [job for job in self._waiting if not job.run_folder.in_use()]
        self._waiting = [job for job in self._waiting if job not in free]
        self._due.extend(free)

    def _begin(self, job: SweepJob) -> None:
        """Start a job, unless by now it has finished or another process works on it."""
        try:
            if skip_finished(job):
                return
            if job.run_folder.in_use() or self._works_on(job):
                self._wait(job)
                return
            before = job.run_folder.stored_status()
            handle = self._start(job)
        except (OSError, UserError) as error:
            job.fail(str(error))
            log_failure(job)
            return
        self._started += 1
        job.state = "running"
        self._active.append(ActiveJob(job, handle, before))
        again = " (it goes on)" if before else ""
        log.info("started   %s of %s: %s%s", self._started, self._total, job.name, again)

    def _works_on(self, job: SweepJob) -> bool:
        """Return whether the same configuration, written in another way, is at work: 1e-3 and 0.001."""
        return job.run_folder.path in [active.job.run_folder.path for active in self._active]

    def _wait(self, job: SweepJob) -> None:
        if job.state != "waiting":
            log.info("waiting   %s: in use by another process", job.name)
        job.state = "waiting"
        self._waiting.append(job)

    def _settle(self, active: ActiveJob, result: JobResult) -> None:
        """Note how a job ended."""
        job = active.job
        job.seconds = time.monotonic() - active.since
        if result.code == IN_USE:
            self._wait(job)
        elif (result.code == 0 or active.stop_reason) and finished(job.config, job.run_folder):
            job.succeed("finished", float(job.run_folder.stored_status()["result"]))
            log.info("finished  %s: %.2f after %.0f s", job.name, job.return_value, job.seconds)
        elif active.stop_reason:
            job.fail(active.stop_reason, "pruned")
            log.info("pruned    %s: %s", job.name, job.reason)
            with suppress(UserError, OSError), job.run_folder.locked():
                job.run_folder.update_status(error=f"pruned: {job.reason}")
        else:
            job.fail(active.failure(result))
            log_failure(job)

    def _end_all(self) -> None:
        """End the running jobs as interrupted ones, and those that do not stop by force."""
        try:
            for active in self._active:
                active.handle.ask_to_stop()
            patience = time.monotonic() + GRACE_SECONDS
            while any(one.handle.ended() is None for one in self._active) and time.monotonic() < patience:
                time.sleep(LOOK_SECONDS / 2)
        finally:
            for active in self._active:
                if active.handle.ended() is None:
                    active.handle.kill()
                if not skip_finished(active.job):  # it may have come to its end just now
                    active.job.fail("interrupted", "interrupted")


def last_line(job: SweepJob) -> str:
    """Return the last line of a job's log that has text."""
    if job.log is None:
        return ""
    with job.log.open("rb") as file:
        file.seek(max(0, job.log.stat().st_size - 10_000))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def skip_finished(job: SweepJob) -> bool:
    """Return whether a job has finished already, and note it."""
    if not finished(job.config, job.run_folder):
        return False
    job.succeed("skipped", float(job.run_folder.stored_status()["result"]))
    log.info("skipped   %s: has finished before, with %.2f", job.name, job.return_value)
    return True


def log_failure(job: SweepJob) -> None:
    log.info("failed    %s: %s%s", job.name, job.reason, f"; log: {relative(job.log)}" if job.log else "")
