"""Hydra's sweepers, which no job's failure ends: what they share, and the one over lists of values."""

import abc
import itertools
import logging
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
from dqn.config.preflight import folder_of
from dqn.errors import UserError, first_line

log = logging.getLogger(__name__)


class JobSweeper(Sweeper, abc.ABC):
    """Has the jobs of a sweep run by the launcher.

    Args:
        params: values for keys that the command does not give, such as those of a recipe.
        report: whether to write the report.
    """

    def __init__(self, *, params: dict[str, Any] | None, report: bool) -> None:
        self._params, self._report = params or {}, report
        self._config: Any = None
        self._context: Any = None
        self._launcher: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._config, self._context = config, hydra_context
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def overrides(self, arguments: list[str]) -> list[Override]:
        """Return `params` and after them the words of the command."""
        parser = OverridesParser.create(config_loader=self._context.config_loader)
        params = [f"{key}={value}" for key, value in self._params.items()]
        return parser.parse_overrides([*params, *arguments])


class GridSweeper(JobSweeper):
    """Runs every combination of the values; ends with a table, a report, and the exit code 1 if any failed.

    Hydra's own sweeper ends at the first job that failed, and reports no other.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Run all jobs.

        Raises:
            SystemExit: some have failed; all have ended.
        """
        try:
            words = combinations(self.overrides(arguments))
        except UserError as error:
            sys.exit(str(error))
        jobs = self._launcher.launch(words, initial_job_idx=0)
        end(jobs, folder_of(self._config, "hydra.sweep.dir"), report=self._report)
        return [jobs]


def combinations(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the words of each job; of two overrides of one key the later one counts.

    Raises:
        UserError: some overrides name ranges of which nobody says how many values they are.
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
            should = "should be one value or several; a range without steps is for a search"
            problems.append(f"{override.input_line}: {should}")
    if problems:
        raise mistakes(problems, "the command")
    return [list(words) for words in itertools.product(*values.values())]


def end(jobs: Sequence[JobReturn], folder: Path, *, report: bool) -> None:
    """Log how the jobs ended, write the report, and exit with 1 if some have failed.

    Raises:
        SystemExit: some have failed.
    """
    log_results(jobs, folder, report=report)
    if any(job.status != JobStatus.COMPLETED for job in jobs):
        sys.exit(1)


def log_results(jobs: Sequence[JobReturn], folder: Path, *, report: bool) -> None:
    """Log the table of the jobs and write the report."""
    from dqn.sweep.table import folders_of, table

    log.info("\n%s", table(jobs))
    folders = folders_of(jobs)
    if report and folders:
        log.info(try_to_report(folders, folder / "report"))
    with suppress(OSError):
        folder.rmdir()  # where nothing was begun


def try_to_report(folders: Sequence[Path], output: Path) -> str:
    """Write a report on the runs; return its path, or the reason why there is none: no sweep fails by it."""
    from dqn.report.write import write_report
    from dqn.sweep.table import relative

    try:
        page, _ = write_report(folders, output)
    except Exception as error:
        return f"no report: {first_line(error)}"
    return f"report: {relative(page)}"
