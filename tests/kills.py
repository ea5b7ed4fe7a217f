"""Runs and sweeps for tests to kill, and the results of finished ones."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from commands import SCRIPTS
from helpers import TESTS, train_run
from processes import Process, started, wait_until
from records import check_records, read_metrics, stored

from dqn.storage.folder import RunFolder

TINY = [
    *("runner=steps", "runner.total_steps=800", "runner.iteration_length=100", "runner.learning_starts=50"),
    *("runner.batch_size=16", "runner.eval_period=4", "runner.eval_episodes=2", "memory.capacity=1000"),
    "network.torso.hidden_sizes=[16]",
]
MIDDLE = ["runner.total_steps=2400"]
SLOW = ["env=document", "env.module=parts", "env.id=Slow-v0"]
"""For a run that can be killed at leisure after its first checkpoint."""
LONG = ["runner.total_steps=8000", "runner.iteration_length=200"]


WITH_TESTS = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
"""PYTHONPATH of processes that import modules of the tests."""


class End(NamedTuple):
    """Results of a finished run."""

    checkpoint: Any
    metrics: Any
    evaluation: Any


def assert_no_stray_files(folder: Path) -> None:
    """Assert that the checkpoint holds only its manifest and the files that the manifest names."""
    named = json.loads((folder / "checkpoint" / "manifest.json").read_text())["files"].values()
    found = {path.name for path in (folder / "checkpoint").iterdir()}
    assert found == {"manifest.json", *(file["name"] for files in named for file in files)}


def end_of(folder: Path) -> End:
    """Return the results of a finished run, after checks that apply to every run."""
    check_records(folder)
    status = RunFolder(folder).status()
    assert status["state"] == "finished"
    assert status["error"] is None
    assert_no_stray_files(folder)
    return End(stored(folder), read_metrics(folder), (status["evaluation"], status["result"]))


def undisturbed(folder: Path, overrides: list[str]) -> End:
    """Return the results of a run that is not killed, trained in this process."""
    train_run(folder, overrides)
    return end_of(folder)


@contextmanager
def sweep(folder: Path, *overrides: str) -> Iterator[Process]:
    command = [SCRIPTS / "train.py", "-m", f"hydra.sweep.dir={folder}", *TINY, *overrides]
    with started(*command) as process:
        yield process


def run_of(folder: Path, prefix: str) -> Path:
    """Return the only run folder whose name starts with the prefix and an underscore."""
    (path,) = folder.glob(f"{prefix}_*")
    return path


def state(path: Path) -> str:
    return RunFolder(path).status().get("state", "")


def stopped_in_order(path: Path, times: int) -> bool:
    """Return whether a run that no process holds has noted that many interruptions: no kill ended it then."""
    wait_until(lambda: not RunFolder(path).in_use())
    return (path / "log.txt").read_text().count("interrupted; continue with: ") == times


def has_checkpoint(path: Path) -> bool:
    return (path / "checkpoint" / "manifest.json").exists()
