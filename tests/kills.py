"""Runs and sweeps to be killed, and what finished ones left."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from commands import SCRIPTS
from helpers import train_run
from processes import Process, started
from records import check_records, read_metrics, stored

from dqn.storage.folder import RunFolder

TINY = [
    *("runner=steps", "runner.total_steps=800", "runner.iteration_length=100", "runner.learning_starts=50"),
    *("runner.batch_size=16", "runner.eval_period=4", "runner.eval_episodes=2", "memory.capacity=1000"),
    "network.torso.hidden_sizes=[16]",
]
MIDDLE = ["runner.total_steps=2400"]
LONG = ["runner.total_steps=8000", "runner.iteration_length=200"]


class End(NamedTuple):
    """What a finished run left."""

    checkpoint: Any
    metrics: Any
    evaluation: Any


def assert_no_stray_files(folder: Path) -> None:
    """The checkpoint holds its manifest and what that names."""
    named = json.loads((folder / "checkpoint" / "manifest.json").read_text())["files"].values()
    found = {path.name for path in (folder / "checkpoint").iterdir()}
    assert found == {"manifest.json", *(file["name"] for files in named for file in files)}


def end_of(folder: Path) -> End:
    """Return what a finished run left, and check what must hold of every one."""
    check_records(folder)
    status = RunFolder(folder).status()
    assert status["state"] == "finished"
    assert status["error"] is None
    assert_no_stray_files(folder)
    return End(stored(folder), read_metrics(folder), (status["evaluation"], status["result"]))


def undisturbed(folder: Path, words: list[str]) -> End:
    """Run in this process."""
    train_run(folder, words)
    return end_of(folder)


@contextmanager
def sweep(folder: Path, *words: str) -> Iterator[Process]:
    command = [SCRIPTS / "train.py", "-m", f"hydra.sweep.dir={folder}", *TINY, *words]
    with started(*command) as process:
        yield process


def run_of(folder: Path, start: str) -> Path:
    """Return the run folder whose name begins so."""
    (path,) = folder.glob(f"{start}_*")
    return path


def state(path: Path) -> str:
    return RunFolder(path).status().get("state", "")


def has_checkpoint(path: Path) -> bool:
    return (path / "checkpoint" / "manifest.json").exists()
