"""The jobs of a sweep: what each one runs, how its process ended, its state, and the table of all."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException

from dqn.config.commands import command, relative
from dqn.errors import printable
from dqn.report.labels import job_labels
from dqn.storage.folder import RunFolder
from dqn.system import quoted

LOG = "log.txt"
"""File in the run folder with the output of the job's processes; each attempt appends to it."""
END_STATES = ("finished", "skipped", "pruned", "failed", "interrupted")
"""Skipped: finished before. Pruned: stopped by a search because of low returns."""
IN_USE = 75
"""Exit code of a job whose folder is in use by another process (EX_TEMPFAIL of sysexits.h)."""


class JobSpec(NamedTuple):
    """The data that the process of a job needs."""

    argv: list[str]
    """Command of the sweep, recorded in status.json."""
    folder: Path
    cwd: Path
    """Directory in which relative paths start."""
    config: dict[str, Any]
    """Resolved and checked, so that the process does not compose it again."""
    overrides: list[str]
    warnings: list[str]

    def open_log(self, node: str) -> TextIO:
        """Append a line with the time, the node and the overrides to the log; return the open log.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = (self.folder / LOG).open("a", encoding="utf-8")
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {node}: {' '.join(self.overrides)}\n")
        log.flush()
        return log


class JobResult(NamedTuple):
    """How the process of a job ended."""

    code: int
    """Exit code; negative: the number of the signal that killed the process."""
    error: str = ""
    """Error message, if there is more to say than the code."""


class JobHandle(Protocol):
    """A job that was started: queued or running."""

    def ended(self) -> JobResult | None:
        """Return how the job ended, None if it has not."""

    def ask_to_stop(self) -> None:
        """Ask the job to stop as an interrupted run, or not to start."""

    def kill(self) -> None:
        """Stop the job at once."""


@dataclass
class SweepJob(JobReturn):
    """A job and, once it has ended, what Hydra's sweepers expect: a status, and a result or an exception."""

    name: str = ""
    """Name of the run folder; before the configuration is checked, the swept overrides."""
    folder: RunFolder | None = None
    config: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    state: str = "due"
    """due, waiting or running; at the end one of END_STATES."""
    reason: str = ""
    """Why the job has no result, in one line."""
    seconds: float | None = None

    @property
    def run_folder(self) -> RunFolder:
        """Return the folder of a job whose configuration is valid."""
        assert self.folder is not None
        return self.folder

    @property
    def log(self) -> Path | None:
        """Return the path of the job's log, None if there is no log."""
        path = self.folder.path / LOG if self.folder else None
        return path if path and path.exists() else None

    @property
    def end_state(self) -> str:
        return self.state if self.state in END_STATES else "not started"

    def __str__(self) -> str:
        return self.described(self.name)

    def described(self, name: str) -> str:
        """Return a name for the job and, if it has no result, the reason and its log."""
        log = f"; log: {relative(self.log)}" if self.log else ""
        return f"{name}: {self.reason}{log}" if self.reason else name

    def spec(self) -> JobSpec:
        overrides = list(self.overrides or ())
        return JobSpec(sys.argv, self.run_folder.path, Path.cwd(), self.config, overrides, self.warnings)

    def succeed(self, state: str, result: float) -> None:
        """Record a result; `state` is finished or skipped."""
        self.state, self.status, self.return_value = state, JobStatus.COMPLETED, result

    def fail(self, reason: str, state: str = "failed") -> None:
        """Record that the job ended without a result; several mistakes are joined into one line."""
        head, *lines = (" ".join(line.split()) for line in printable(reason).strip().splitlines() or [""])
        self.state, self.reason = state, f"{head} {'; '.join(lines)}".strip()
        self.status, self.return_value = JobStatus.FAILED, CompactHydraException(self.reason)

    def stop_reason(self) -> str:
        """Return the reason to stop the job early, "" if there is none; called while it runs."""
        return ""


def table(jobs: Sequence[SweepJob]) -> str:
    """Return a line for each job, named as in the report, and the count by state."""
    lines = [f"{'':<11} {'result':>10} {'time':>8}  job"]
    for job, label in zip(jobs, job_labels([job.overrides or () for job in jobs]), strict=True):
        result = f"{job.return_value:.2f}" if job.status == JobStatus.COMPLETED else ""
        seconds = "" if job.seconds is None else f"{job.seconds:.0f} s"
        lines.append(f"{job.end_state:<11} {result:>10} {seconds:>8}  {job.described(label or job.name)}")
    return "\n".join([*lines, count(jobs)])


def count(jobs: Sequence[SweepJob]) -> str:
    """Return the number of jobs in each state that occurs."""
    states = [job.end_state for job in jobs]
    known = (*END_STATES, "not started")
    return ", ".join(f"{states.count(one)} {one}" for one in known if one in states)


def interrupted(jobs: Sequence[SweepJob]) -> str:
    """Return the message about an interrupted sweep, with the command that continues it."""
    again = f"{command('train')} {' '.join(map(quoted, sys.argv[1:]))}"
    return f"interrupted: {count(jobs)}; run the same command to continue: {again}"
