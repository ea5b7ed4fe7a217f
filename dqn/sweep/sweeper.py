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

from dqn.config.commands import relative
from dqn.config.compose import mistakes
from dqn.config.overrides import MOST_VALUES
from dqn.config.preflight import folder_of
from dqn.errors import UserError, first_line
from dqn.sweep.job import SweepJob, table
from dqn.tracking.progress import waiting

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

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep of the overrides of the command.

        Raises:
            SystemExit: an override is invalid, or some jobs have no result; all of them have run.
        """
        params = [f"{key}={value}" for key, value in (self._params or {}).items()]
        folder = folder_of(self._config, "hydra.sweep.dir")
        try:
            overrides = self._parser().parse_overrides([*params, *arguments])
            last = {override.get_key_element(): override for override in overrides}
            succeeded = self.run(list(last.values()), folder)
        except UserError as error:
            remove_empty(folder)
            sys.exit(str(error))
        if not succeeded:
            sys.exit(1)

    @abc.abstractmethod
    def run(self, overrides: list[Override], folder: Path) -> bool:
        """Run the sweep of `overrides`, one for each key, in a folder; return whether it succeeded."""

    def _parser(self) -> OverridesParser:
        return OverridesParser.create(config_loader=self._context.config_loader)

    def log_results(self, jobs: Sequence[SweepJob], folder: Path) -> None:
        """Log the table of the jobs and write the report."""
        log.info("\n%s", table(jobs))
        runs = [job.folder for job in jobs if job.folder]
        if self._report and (folders := [relative(run.path) for run in runs if run.config_file.exists()]):
            log.info(try_to_report(list(dict.fromkeys(folders)), folder / "report"))
        remove_empty(folder)


class GridSweeper(JobSweeper):
    """Runs every combination of the values, then logs a table and writes a report.

    Hydra's default sweeper stops at the first job that failed, and reports no other.
    """

    def run(self, overrides: list[Override], folder: Path) -> bool:
        jobs = list(map(to_sweep_job, self._launcher.launch(combinations(overrides), initial_job_idx=0)))
        self.log_results(jobs, folder)
        return all(job.status == JobStatus.COMPLETED for job in jobs)


def combinations(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of each job.

    Raises:
        UserError: some overrides are ranges without steps, or there are too many jobs.
    """
    values, problems = [], []
    for override in overrides:
        if not override.is_sweep_override():
            values.append([str(override.input_line)])
        elif override.is_discrete_sweep():
            key = override.get_key_element()
            values.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            should = "should be one value or several; an interval needs hydra/sweeper=optuna"
            problems.append(f"{override.input_line}: {should}")
    count = math.prod(map(len, values))
    if count > MOST_VALUES:
        problems.append(f"the grid has {count:,} jobs; it should have at most {MOST_VALUES:,}")
    if problems:
        raise mistakes(problems, "the command")
    return [list(chosen) for chosen in itertools.product(*values)]


def to_sweep_job(job: JobReturn) -> SweepJob:
    """Return the job of any launcher as a SweepJob."""
    if isinstance(job, SweepJob):
        return job
    converted = SweepJob(overrides=job.overrides, name=" ".join(job.overrides or ()))
    if job.status == JobStatus.COMPLETED:
        converted.succeed("finished", job.return_value)
    else:
        converted.fail(str(job._return_value))
    return converted


def remove_empty(folder: Path) -> None:
    """Remove the folder of a sweep if no job has started."""
    with suppress(OSError):
        folder.rmdir()


def try_to_report(folders: Sequence[Path], output: Path) -> str:
    """Write a report on the runs; return a message with its path, or with the error: no sweep fails by it."""
    from dqn.report.write import write_report

    try:
        with waiting("writing the report"):
            page, _ = write_report(folders, output)
    except Exception as error:
        return f"no report: {first_line(error)}"
    return f"report: {relative(page)}"
