"""Fixtures that several test files share."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from helpers import train_run

os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
"""As in an activated environment: `python` is the one that runs the tests."""

FINISHED = [
    "runner.total_episodes=4",
    "runner.iteration_length=2",
    "runner.eval_episodes=0",
    "network.torso.hidden_sizes=[4]",
]
"""The words of the run of `finished_run`."""


@pytest.fixture(autouse=True)
def _denormals() -> None:
    """Let the tiniest numbers count, whatever an earlier test's run has left."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def finished_template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train_run(folder, FINISHED)
    return folder


@pytest.fixture
def finished_run(finished_template, tmp_path) -> Path:
    """Return a folder of one's own with a small run that has reached its end."""
    return Path(shutil.copytree(finished_template, tmp_path / "run"))
