"""How a sweep ended: for whoever started it."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from dqn.config.commands import command
from dqn.sweep.job import SweepJob

END_STATES = ("finished", "skipped", "pruned", "failed", "interrupted")


def table(jobs: Sequence[JobReturn]) -> str:
    """Return a line for each job and their count."""
    rows = [row(job) if isinstance(job, SweepJob) else plain_row(job) for job in jobs]
    return "\n".join([f"{'':<11} {'result':>10} {'time':>8}  job", *rows, count(jobs)])


def row(job: SweepJob) -> str:
    result = f"{job.return_value:.2f}" if job.status == JobStatus.COMPLETED else ""
    seconds = "" if job.seconds is None else f"{job.seconds:.0f} s"
    text = f"{job.name}: {job.reason}" if job.reason else job.name
    log = f"; log: {relative(job.log)}" if job.reason and job.log else ""
    return f"{state(job):<11} {result:>10} {seconds:>8}  {text}{log}"


def plain_row(job: JobReturn) -> str:
    """Return the line of a job that a launcher of Hydra's own has run."""
    words = " ".join(job.overrides or ())
    if job.status == JobStatus.COMPLETED:
        return f"{state(job):<11} {job.return_value:>10.2f} {'':>8}  {words}"
    return f"{state(job):<11} {'':>10} {'':>8}  {words}: {' '.join(str(job._return_value).split())}"


def state(job: JobReturn) -> str:
    """Return how a job ended."""
    if isinstance(job, SweepJob):
        return job.state if job.state in END_STATES else "not begun"
    return "finished" if job.status == JobStatus.COMPLETED else "failed"


def count(jobs: Sequence[JobReturn]) -> str:
    """Return how many jobs ended how."""
    states = [state(job) for job in jobs]
    counts = {name: states.count(name) for name in (*END_STATES, "not begun")}
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def folders_of(jobs: Sequence[JobReturn]) -> list[Path]:
    """Return the run folders that are there."""
    runs = [job.folder for job in jobs if isinstance(job, SweepJob) and job.folder]
    return list(dict.fromkeys(relative(run.path) for run in runs if run.config_file.exists()))


def relative(path: Path) -> Path:
    """Return a path as the user would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def the_same_command() -> str:
    return f"{command('train')} {shlex.join(sys.argv[1:])}"
