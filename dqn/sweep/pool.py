"""Some jobs at a time, until all have ended: one that fails takes no other with it."""

import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Protocol

from dqn.config.launch import finished
from dqn.errors import UserError
from dqn.storage.folder import State
from dqn.sweep.job import IN_USE, End, SweepJob
from dqn.sweep.planner import fail, succeed
from dqn.sweep.table import relative

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
"""From one look at the running jobs to the next."""
WAIT_SECONDS = 1.0
"""From one look at folders, those that others work on and those of the running jobs, to the next."""
GRACE_SECONDS = 20.0
"""What jobs have to end in, once they are asked to; each ends within the step that it is at."""


class Work(Protocol):
    """A job at work."""

    def ended(self) -> End | None: ...
    def ask_to_stop(self) -> None: ...
    def kill(self) -> None: ...


Verdict = Callable[[SweepJob], str]
"""Says why a running job is to end before its time; "": it is not."""


def let_run(job: SweepJob) -> str:
    """Let each job come to its end."""
    return ""


class Pool:
    """Runs the jobs of a sweep.

    Args:
        start: lets a job work; an OSError is a failure of that job.
        n_jobs: at a time.
        verdict: asked again and again about each running job.
    """

    def __init__(self, start: Callable[[SweepJob], Work], n_jobs: int, verdict: Verdict) -> None:
        self._start, self._n_jobs, self._verdict = start, n_jobs, verdict
        self._running: list[Running] = []
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
            total: how many they are, to tell.
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
                while len(self._running) < self._n_jobs and (job := self._next()):
                    self._begin(job)
                if not self._running and not self._waiting:
                    return
                time.sleep(LOOK_SECONDS)
        except BaseException:
            self._end_all()
            raise

    def _next(self) -> SweepJob | None:
        return self._due.popleft() if self._due else next(self._jobs, None)

    def _look(self) -> None:
        """See which jobs have ended or should, and which folders nobody works on any more."""
        for running in self._running.copy():
            if end := running.work.ended():
                self._running.remove(running)
                self._settle(running, end)
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + WAIT_SECONDS
        for running in self._running:
            if not running.verdict and (verdict := self._verdict(running.job)):
                running.verdict = verdict
                running.work.ask_to_stop()
        free = [job for job in self._waiting if job.folder and not job.folder.in_use()]
        self._waiting = [job for job in self._waiting if job not in free]
        self._due.extend(free)

    def _begin(self, job: SweepJob) -> None:
        """Start a job, unless by now it has finished or another process works on it."""
        assert job.folder is not None
        try:
            if skipped(job):
                return
            if job.folder.in_use() or self._works_on(job):
                self._wait(job)
                return
            before = job.folder.stored_status()
            work = self._start(job)
        except (OSError, UserError) as error:
            fail(job, str(error))
            self._tell_failure(job)
            return
        self._started += 1
        job.state = "running"
        self._running.append(Running(job, work, before))
        again = " (it goes on)" if before else ""
        log.info("started   %s of %s: %s%s", self._started, self._total, job.name, again)

    def _works_on(self, job: SweepJob) -> bool:
        """Return whether the same configuration, written in another way, is at work: 1e-3 and 0.001."""
        paths = [running.job.folder.path for running in self._running if running.job.folder]
        return job.folder is not None and job.folder.path in paths

    def _wait(self, job: SweepJob) -> None:
        if job.state != "waiting":
            log.info("waiting   %s: in use by another process", job.name)
        job.state = "waiting"
        self._waiting.append(job)

    def _settle(self, running: "Running", end: End) -> None:
        """Note how a job ended."""
        job, code = running.job, end.code
        assert job.folder is not None
        job.seconds = time.monotonic() - running.since
        if code == IN_USE:
            self._wait(job)
        elif (code == 0 or running.verdict) and finished(job.config, job.folder):
            result = float(job.folder.stored_status()["result"])
            succeed(job, "finished", result)
            log.info("finished  %s: %.2f after %.0f s", job.name, result, job.seconds)
        elif running.verdict:
            fail(job, running.verdict)
            job.state = "pruned"
            log.info("pruned    %s: %s", job.name, job.reason)
            with suppress(UserError, OSError), job.folder.locked():
                job.folder.update_status(error=f"pruned: {job.reason}")
        else:
            fail(job, running.reason(end))
            self._tell_failure(job)

    def _tell_failure(self, job: SweepJob) -> None:
        log.info("failed    %s: %s%s", job.name, job.reason, f"; log: {relative(job.log)}" if job.log else "")

    def _end_all(self) -> None:
        """End the running jobs as interrupted ones, and those that do not heed it by force."""
        try:
            for running in self._running:
                running.work.ask_to_stop()
            patience = time.monotonic() + GRACE_SECONDS
            while any(one.work.ended() is None for one in self._running) and time.monotonic() < patience:
                time.sleep(LOOK_SECONDS / 2)
        finally:
            for running in self._running:
                if running.work.ended() is None:
                    running.work.kill()
                if not skipped(running.job):  # it may have come to its end just now
                    fail(running.job, "interrupted")
                    running.job.state = "interrupted"


class Running:
    """A job at work, since when, and what its status was before."""

    def __init__(self, job: SweepJob, work: Work, before: State) -> None:
        self.job, self.work, self.before = job, work, before
        self.since = time.monotonic()
        self.verdict = ""

    def reason(self, end: End) -> str:
        """Return why the job failed."""
        assert self.job.folder is not None
        if end.code < 0:
            known = {one.value: one.name for one in signal.Signals}
            return f"killed by {known.get(-end.code, f'signal {-end.code}')}"
        status = self.job.folder.stored_status()
        if status != self.before and status.get("state") == "interrupted":
            return "interrupted"
        if status != self.before and status.get("state") == "failed" and status.get("error"):
            return str(status["error"])
        return end.error or last_line(self.job) or f"ended with the exit code {end.code}"


def last_line(job: SweepJob) -> str:
    """Return the last line of a job's log that has text."""
    if job.log is None:
        return ""
    with job.log.open("rb") as file:
        file.seek(max(0, job.log.stat().st_size - 10_000))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def skipped(job: SweepJob) -> bool:
    """Return whether a job has finished already, and note it."""
    assert job.folder is not None
    if not finished(job.config, job.folder):
        return False
    succeed(job, "skipped", float(job.folder.stored_status()["result"]))
    log.info("skipped   %s: has finished before, with %.2f", job.name, job.return_value)
    return True
