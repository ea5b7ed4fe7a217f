"""A job of a sweep: what to run, how its process ended, and what has become of it."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException

from dqn.storage.folder import RunFolder

LOG = "log.txt"
"""In the run folder: what the processes of a job have printed, each attempt below the one before."""
IN_USE = 75
"""The exit code of a job whose folder another process works on (EX_TEMPFAIL of sysexits.h)."""


class JobSpec(NamedTuple):
    """What the process of a job needs to run it."""

    argv: list[str]
    """Of the sweep; status.json records it as the command."""
    folder: Path
    cwd: Path
    """Where relative paths begin."""
    config: dict[str, Any]
    """Resolved and checked, so that nothing is composed twice."""
    overrides: list[str]
    warnings: list[str]

    def open_log(self, node: str) -> TextIO:
        """Return the log, with a new line that says when and on which node this attempt began.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = (self.folder / LOG).open("a")
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {node}: {' '.join(self.overrides)}\n")
        log.flush()
        return log


class JobResult(NamedTuple):
    """How the process of a job ended."""

    code: int
    """Its exit code, negative of a signal."""
    error: str = ""
    """What is known of it beyond the code."""


class JobHandle(Protocol):
    """A job in a queue or at work."""

    def ended(self) -> JobResult | None:
        """Return how it ended, None while it works or waits."""
        ...

    def ask_to_stop(self) -> None:
        """Let it end as an interrupted run, or never begin."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


@dataclass
class SweepJob(JobReturn):
    """A job; once it has ended, also what Hydra's sweepers expect: a status, and a result or an exception."""

    name: str = ""
    """Of its folder, or what is swept where the configuration is not one."""
    folder: RunFolder | None = None
    config: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    state: str = "due"
    """due, waiting, running; in the end finished, skipped (it had finished before), interrupted, failed, or
    pruned (of a search: stopped because it did badly)."""
    reason: str = ""
    """Why it has no result, in one line."""
    seconds: float | None = None

    @property
    def run_folder(self) -> RunFolder:
        """Return the folder of a job whose configuration is right."""
        assert self.folder is not None
        return self.folder

    @property
    def log(self) -> Path | None:
        """Return the log of a job that has one."""
        path = self.folder.path / LOG if self.folder else None
        return path if path and path.exists() else None

    def spec(self, argv: list[str]) -> JobSpec:
        overrides = list(self.overrides or ())
        return JobSpec(argv, self.run_folder.path, Path.cwd(), self.config, overrides, self.warnings)

    def succeed(self, state: str, result: float) -> None:
        """Note a result; `state` is finished or skipped."""
        self.state, self.status, self.return_value = state, JobStatus.COMPLETED, result

    def fail(self, reason: str, state: str = "failed") -> None:
        """Note an end without a result; a list of mistakes becomes one line."""
        head, *lines = (" ".join(line.split()) for line in reason.strip().splitlines() or [""])
        self.state, self.reason = state, f"{head} {'; '.join(lines)}".strip()
        self.status, self.return_value = JobStatus.FAILED, CompactHydraException(self.reason)
