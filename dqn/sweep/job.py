"""A job of a sweep: what it is to run, and what has become of it."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from hydra.core.utils import JobReturn

from dqn.storage.folder import RunFolder

LOG = "log.txt"
"""In the run folder: what the processes of a job have printed, each attempt below the one before."""
IN_USE = 75
"""The exit code of a job whose folder another process works on (EX_TEMPFAIL of sysexits.h)."""


class Order(NamedTuple):
    """What the process of a job is told to do."""

    argv: list[str]
    """Of the sweep, which status.json records as the command."""
    folder: Path
    cwd: Path
    """Where relative paths begin."""
    config: dict[str, Any]
    """Resolved and checked, so that nothing is composed twice."""
    overrides: list[str]
    warnings: list[str]

    def open_log(self, node: str) -> TextIO:
        """Return the log, to which a line was added that says when and on which node this attempt began.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = (self.folder / LOG).open("a")
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {node}: {' '.join(self.overrides)}\n")
        log.flush()
        return log


class End(NamedTuple):
    """How the process of a job ended."""

    code: int
    """Its exit code, negative of a signal."""
    error: str = ""
    """What is known of it beyond the code."""


@dataclass
class SweepJob(JobReturn):
    """A job, and with its end what Hydra's sweepers expect of one: a status, and a result or an exception."""

    name: str = ""
    """Of its folder, or what is swept where the configuration is not one."""
    folder: RunFolder | None = None
    config: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    state: str = "due"
    """due, waiting, running; in the end finished, skipped (it had finished before), interrupted, failed, or
    pruned (of a search: ended because it did badly)."""
    reason: str = ""
    """Why it failed, in one line."""
    seconds: float | None = None

    @property
    def log(self) -> Path | None:
        """The log of a job that has one."""
        path = self.folder.path / LOG if self.folder else None
        return path if path and path.exists() else None

    def order(self, argv: list[str]) -> Order:
        assert self.folder is not None
        overrides = list(self.overrides or ())
        return Order(argv, self.folder.path, Path.cwd(), self.config, overrides, self.warnings)
