"""Read run folders for a report, as data: nothing in them is trusted, executed or changed."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dqn.errors import UserError, file_problem, one_line
from dqn.report.formatting import setting_text
from dqn.storage.flatten import settings
from dqn.storage.folder import RunFolder
from dqn.storage.metrics import Block, evaluation_scores, metrics_file, read_blocks
from dqn.storage.overrides import typed
from dqn.storage.reader import is_plain, listed
from dqn.storage.runs import runs_in
from dqn.storage.schema import Status
from dqn.types import Floats


class Series(NamedTuple):
    """Returns in the order of time."""

    steps: Floats  # [N], environment steps of the seed
    episodes: Floats  # [N], finished episodes of the seed
    returns: Floats  # [N]

    def axis(self, unit: str) -> Floats:
        return self.episodes if unit == "episode" else self.steps


class Seed(NamedTuple):
    """The content of one seed's folder."""

    number: int
    train: Series
    """Return of each training episode."""
    evaluation: Series
    """Mean return of each periodic evaluation."""
    end: tuple[float, float]
    """Environment steps and episodes of the latest line."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The content of a run folder."""

    path: str
    config: dict[str, str]
    """Dotted keys and their values as text."""
    overrides: dict[str, str]
    """Overrides that the user typed, or that a sweep gave the run."""
    seeds: list[Seed]
    state: str
    error: str
    status: Status = field(repr=False)
    final: dict[int, float]
    """Mean return of each seed's final evaluation; empty unless the run has finished."""
    notes: list[str]
    """Messages about missing or damaged files."""

    @property
    def folder(self) -> Path:
        """Return the folder that the run is in, which is that of its sweep."""
        return Path(os.path.abspath(self.path)).parent

    @property
    def commands(self) -> list[str]:
        """Return the command lines that trained the run."""
        return [one_line(command) for command in self.status.get("commands", [])]

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of the packages and the Git revision that the run used."""
        git, versions = self.status.get("git"), self.status.get("versions", {})
        return {one_line(k): one_line(v) for k, v in (versions | ({"git": git} if git else {})).items()}

    @property
    def cpu_seconds(self) -> float | None:
        return self.status.get("cpu_seconds")


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Return the run folders in `folders`, sorted; symbolic links are not followed.

    Raises:
        UserError: a folder does not exist, or none contains a run.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
        for path in runs_in(folder):
            found.setdefault(path.resolve(), path)
    if not found:
        names = ", ".join(map(str, folders))
        raise UserError(f"{names}: no runs there; a run folder has .hydra/config.yaml and status.json")
    return sorted(found.values())


def read_record(path: Path) -> RunRecord:
    """Return the content of a run folder.

    Raises:
        UserError: the configuration cannot be read.
    """
    folder = RunFolder(path)
    config = folder.read_config()
    notes: list[str] = []
    status = folder.status()
    if not status:
        problem = "cannot be read" if is_plain(path, "status.json") else "is missing"
        notes.append(f"status.json {problem}: its outcome is unknown")
    state = status.get("state", "unknown")
    flat = {one_line(key): setting_text(value) for key, value in settings(config)}
    return RunRecord(
        path=str(path),
        config=flat,
        overrides=typed(folder.read_overrides(), flat),
        seeds=list(read_seeds(path, notes)),
        state=state,
        error=one_line(status.get("error") or ""),
        status=status,
        final=evaluation_scores(status) if state == "finished" else {},
        notes=notes,
    )


def read_seeds(path: Path, notes: list[str]) -> Iterator[Seed]:
    """Yield the seeds of a run by number; add a message to `notes` for each that cannot be read."""
    numbers = [int(m[1]) for one in listed(path) if (m := re.fullmatch(r"seed=(\d{1,19})", one.name))]
    for number in sorted(set(numbers)):
        if not is_plain(path, metrics_file(number)):
            notes.append(f"seed={number} has no metrics.jsonl")
            continue
        try:
            yield read_seed(number, read_blocks(path, number), notes)
        except OSError as error:
            notes.append(f"seed={number}: metrics.jsonl cannot be read ({file_problem(error)})")


def read_seed(number: int, blocks: Iterable[Block], notes: list[str]) -> Seed:
    """Return the content of a seed's metrics.jsonl; add a message to `notes` where lines are damaged."""
    points: dict[str, list[tuple[float, float, float]]] = {"train/return": [], "eval/return": []}
    end = (0.0, 0.0)
    damaged, torn = 0, False
    for block in blocks:
        damaged, torn = damaged + torn + block.damaged, block.torn
        for line in block.lines:
            for tag, series in points.items():
                if tag in line and "step" in line and "episode" in line:
                    series.append((line["step"], line["episode"], line[tag]))
        if block.lines:
            end = (block.lines[-1].get("step", end[0]), block.lines[-1].get("episode", end[1]))
    if torn:
        notes.append(f"seed={number}: the last line of metrics.jsonl is torn, as after a run was killed")
    if damaged:
        problem = "are not JSON objects of numbers and were left out"
        notes.append(f"seed={number}: {damaged} lines of metrics.jsonl {problem}")
    train, evaluation = (series_of(series) for series in points.values())
    return Seed(number, train, evaluation, end)


def series_of(points: list[tuple[float, float, float]]) -> Series:
    """Return the points (step, episode, return) sorted by step."""
    array = np.array(points, np.float64).reshape(-1, 3)
    array = array[np.argsort(array[:, 0], kind="stable")]
    return Series(*array.T.copy())
