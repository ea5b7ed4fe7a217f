"""Hydra sweepers whose jobs all run even if some fail: their common base, and the grid sweeper."""

import abc
import itertools
import logging
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dqn.config.compose import mistakes
from dqn.config.overrides import MOST_VALUES
from dqn.config.preflight import folder_of
from dqn.errors import UserError, first_line
from dqn.sweep.job import SweepJob, relative, table

log = logging.getLogger(__name__)


class JobSweeper(Sweeper, abc.ABC):
    """Passes the jobs of a sweep to the launcher; conf/hydra/sweeper describes the arguments."""

    def __init__(self, *, params: dict[str, Any] | None, report: bool) -> None:
        self._params, self._report = params, report
        self._config: Any = None
        self._context: Any = None
        self._launcher: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._config, self._context = config, hydra_context
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def overrides(self, arguments: list[str]) -> list[Override]:
        """Return the last override of each key: of the command, or else of `params`."""
        params = [f"{key}={value}" for key, value in (self._params or {}).items()]
        parser = OverridesParser.create(config_loader=self._context.config_loader)
        return list(
            {one.get_key_element(): one for one in parser.parse_overrides([*params, *arguments])}.values()
        )


class GridSweeper(JobSweeper):
    """Runs every combination of the values, then logs a table and writes a report.

    Hydra's default sweeper stops at the first job that failed, and reports no other.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Run all jobs.

        Raises:
            SystemExit: an override is invalid, or some jobs failed; all of them have run.
        """
        try:
            jobs_overrides = combinations(self.overrides(arguments))
        except UserError as error:
            sys.exit(str(error))
        jobs = list(map(to_sweep_job, self._launcher.launch(jobs_overrides, initial_job_idx=0)))
        end(jobs, folder_of(self._config, "hydra.sweep.dir"), report=self._report)
        return [jobs]


def combinations(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of each job; the last override of a key counts.

    Raises:
        UserError: some overrides are ranges without steps, or there are too many jobs.
    """
    values: dict[str, list[str]] = {}
    problems = []
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            values[key] = [str(override.input_line)]
        elif override.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            should = "should be one value or several; an interval needs hydra/sweeper=optuna"
            problems.append(f"{override.input_line}: {should}")
    count = math.prod(map(len, values.values()))
    if count > MOST_VALUES:
        problems.append(f"the grid has {count:,} jobs; it should have at most {MOST_VALUES:,}")
    if problems:
        raise mistakes(problems, "the command")
    return [list(chosen) for chosen in itertools.product(*values.values())]


def to_sweep_job(job: JobReturn) -> SweepJob:
    """Return the job of any launcher as a SweepJob."""
    if isinstance(job, SweepJob):
        return job
    converted = SweepJob(name=" ".join(job.overrides or ()))
    if job.status == JobStatus.COMPLETED:
        converted.succeed("finished", job.return_value)
    else:
        converted.fail(str(job._return_value))
    return converted


def end(jobs: Sequence[SweepJob], folder: Path, *, report: bool) -> None:
    """Log the results and exit with code 1 if some jobs have none."""
    log_results(jobs, folder, report=report)
    if any(job.status != JobStatus.COMPLETED for job in jobs):
        sys.exit(1)


def log_results(jobs: Sequence[SweepJob], folder: Path, *, report: bool) -> None:
    """Log the table of the jobs and write the report."""
    log.info("\n%s", table(jobs))
    runs = [job.folder for job in jobs if job.folder]
    if report and (folders := [relative(run.path) for run in runs if run.config_file.exists()]):
        log.info(try_to_report(list(dict.fromkeys(folders)), folder / "report"))
    with suppress(OSError):
        folder.rmdir()  # if no job started


def try_to_report(folders: Sequence[Path], output: Path) -> str:
    """Write a report on the runs; return a message with its path, or with the error: no sweep fails by it."""
    from dqn.report.write import write_report

    try:
        page, _ = write_report(folders, output)
    except Exception as error:
        return f"no report: {first_line(error)}"
    return f"report: {relative(page)}"
