"""Read run folders for a report, as data: nothing in them is trusted, executed or changed."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dqn.errors import UserError, one_line
from dqn.report.formatting import setting_text
from dqn.storage.flatten import settings
from dqn.storage.folder import RunFolder
from dqn.storage.metrics import Block, evaluation_scores, is_number, metrics_file, read_blocks
from dqn.types import Floats

RUN_STATES = ("finished", "running", "interrupted", "failed")


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
    seeds: list[Seed]
    state: str
    error: str
    status: dict[str, Any] = field(repr=False)
    final: dict[int, float]
    """Mean return of each seed's final evaluation; empty unless the run has finished."""
    notes: list[str]
    """Messages about missing or damaged files."""

    @property
    def commands(self) -> list[str]:
        """Return the command lines that trained the run."""
        value = self.status.get("commands")
        return [one_line(one) for one in value] if isinstance(value, list) else []

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of the packages and the Git revision that the run used."""
        value = self.status.get("versions")
        versions = {one_line(k): one_line(v) for k, v in value.items()} if isinstance(value, dict) else {}
        return versions | ({"git": one_line(self.status["git"])} if self.status.get("git") else {})

    @property
    def cpu_seconds(self) -> float | None:
        value = self.status.get("cpu_seconds")
        return value if is_number(value) else None


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Return the run folders in `folders`, sorted; symbolic links are not followed.

    Raises:
        UserError: a folder does not exist, or none contains a run.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
        for name, below, _ in os.walk(folder):
            path = Path(name)
            if is_file(path / ".hydra" / "config.yaml") or is_file(path / "status.json"):
                found.setdefault(path.resolve(), path)
                below.clear()
            below[:] = sorted(one for one in below if not one.startswith("."))
    if not found:
        listed = ", ".join(map(str, folders))
        raise UserError(f"{listed}: no runs there; a run folder has .hydra/config.yaml and status.json")
    return sorted(found.values())


def is_file(path: Path) -> bool:
    """Return whether `path` is a regular file, not in a linked folder; reading a pipe would never end."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and not path.parent.is_symlink()
    except OSError:
        return False


def read_record(path: Path) -> RunRecord:
    """Return the content of a run folder.

    Raises:
        UserError: the configuration cannot be read.
    """
    folder = RunFolder(path)
    if not is_file(folder.config_file):
        raise UserError(f"{path}: no .hydra/config.yaml")
    notes: list[str] = []
    status = {}
    if not is_file(folder.status_file):
        notes.append("no status.json: its outcome is unknown")
    else:
        status = folder.stored_status() if (path / ".lock").is_symlink() else folder.status()
        if not status:
            notes.append("status.json cannot be read: its outcome is unknown")
    state = status.get("state")
    return RunRecord(
        path=str(path),
        config={one_line(key): setting_text(value) for key, value in settings(folder.read_config())},
        seeds=list(read_seeds(path, notes)),
        state=state if state in RUN_STATES else "unknown",
        error=one_line(status.get("error") or ""),
        status=status,
        final=evaluation_scores(status) if state == "finished" else {},
        notes=notes,
    )


def read_seeds(path: Path, notes: list[str]) -> Iterator[Seed]:
    """Yield the seeds of a run by number; add a message to `notes` for each that cannot be read."""
    numbers = [int(m[1]) for name in os.listdir(path) if (m := re.fullmatch(r"seed=(\d{1,18})", name))]
    for number in sorted(set(numbers)):
        metrics = metrics_file(path, number)
        if not is_file(metrics):
            notes.append(f"seed={number} has no metrics.jsonl")
            continue
        try:
            yield read_seed(number, read_blocks(metrics), notes)
        except OSError as error:
            notes.append(f"seed={number}: metrics.jsonl cannot be read ({error.strerror})")


def read_seed(number: int, blocks: Iterable[Block], notes: list[str]) -> Seed:
    """Return the content of a seed's metrics.jsonl; add a message to `notes` where lines are damaged."""
    points: dict[str, list[tuple[Any, Any, Any]]] = {"train/return": [], "eval/return": []}
    end = (0.0, 0.0)
    damaged, torn = 0, False
    for block in blocks:
        damaged, torn = damaged + block.damaged, block.torn
        for line in block.lines:
            for tag, series in points.items():
                if tag in line:
                    series.append((line.get("step"), line.get("episode"), line[tag]))
        if block.lines and is_number(block.lines[-1].get("step")):
            end = (float(block.lines[-1]["step"]), float(block.lines[-1].get("episode") or 0))
    if torn:
        notes.append(f"seed={number}: the last line of metrics.jsonl is torn, as after a run was killed")
    if damaged:
        notes.append(f"seed={number}: {damaged} lines of metrics.jsonl are not JSON and were left out")
    train, evaluation = (series_of(series) for series in points.values())
    return Seed(number, train, evaluation, end)


def series_of(points: list[tuple[Any, Any, Any]]) -> Series:
    """Return the points (step, episode, return) that are three finite numbers, sorted by step."""
    try:
        array = np.array(points, np.float64).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError):
        array = np.array([point for point in points if all(map(is_number, point))], np.float64).reshape(-1, 3)
    array = array[np.isfinite(array).all(-1)]
    array = array[np.argsort(array[:, 0], kind="stable")]
    return Series(*array.T.copy())
