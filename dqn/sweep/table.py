"""The summary of a sweep: a table of its jobs, their count by state, and the command that continues it."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobStatus

from dqn.config.commands import command
from dqn.sweep.job import SweepJob

END_STATES = ("finished", "skipped", "pruned", "failed", "interrupted")


def table(jobs: Sequence[SweepJob]) -> str:
    """Return a line for each job, and the count by state."""
    lines = [f"{'':<11} {'result':>10} {'time':>8}  job"]
    for job in jobs:
        result = f"{job.return_value:.2f}" if job.status == JobStatus.COMPLETED else ""
        seconds = "" if job.seconds is None else f"{job.seconds:.0f} s"
        lines.append(f"{end_state(job):<11} {result:>10} {seconds:>8}  {describe(job)}")
    return "\n".join([*lines, count(jobs)])


def describe(job: SweepJob) -> str:
    """Return a job's name and, if it has no result, the reason and its log."""
    log = f"; log: {relative(job.log)}" if job.log else ""
    return f"{job.name}: {job.reason}{log}" if job.reason else job.name


def end_state(job: SweepJob) -> str:
    return job.state if job.state in END_STATES else "not started"


def count(jobs: Sequence[SweepJob]) -> str:
    """Return the number of jobs in each state that occurs."""
    states = [end_state(job) for job in jobs]
    counts = {name: states.count(name) for name in (*END_STATES, "not started")}
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def folders_of(jobs: Sequence[SweepJob]) -> list[Path]:
    """Return the run folders that exist, each once."""
    runs = [job.folder for job in jobs if job.folder]
    return list(dict.fromkeys(relative(run.path) for run in runs if run.config_file.exists()))


def relative(path: Path) -> Path:
    """Return a path as the user would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def interrupted(jobs: Sequence[SweepJob]) -> str:
    """Return the message about an interrupted sweep, with the command that continues it."""
    again = f"{command('train')} {shlex.join(sys.argv[1:])}"
    return f"interrupted: {count(jobs)}; run the same command to continue: {again}"
