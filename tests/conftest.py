"""Fixtures that several test files share."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Set before NumPy and torch count their threads, for this process and those that tests start. Parallel tests
# fill the cores: threads that wait for each other would cost up to a third more.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

import gymnasium
import torch
from envs import Counting
from helpers import FINISHED, train_run

COMPILED = os.environ.get("DQN_TEST_COMPILED") or tempfile.mkdtemp(prefix="dqn-compiled-")
"""Folder in which torch's compiler keeps what all workers of this session need again, such as headers."""
os.environ.update({"DQN_TEST_COMPILED": COMPILED, "TORCHINDUCTOR_CACHE_DIR": COMPILED})

os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
"""Makes `python` the interpreter that runs the tests, as in an activated environment."""


@pytest.fixture(autouse=True)
def _denormals() -> None:
    """Compute with denormal numbers, regardless of what an earlier test's run has set."""
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _environments_closed() -> Iterator[None]:
    """Fail a test that leaves an environment open, which would keep others of later tests from being made."""
    yield
    left, Counting.alive = Counting.alive, 0
    assert left == 0


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Deliver SIGINT to the processes that a test starts, even if pytest itself ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def finished_template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train_run(folder, FINISHED)
    return folder


@pytest.fixture
def finished_run(finished_template, tmp_path) -> Path:
    """Return a folder with a small finished run that the test may change."""
    return Path(shutil.copytree(finished_template, tmp_path / "run"))


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Record the ids of the environments that are made during the test."""
    ids: list[str] = []
    make = gymnasium.make

    def recording(id: str, **kwargs: Any) -> Any:
        ids.append(id)
        return make(id, **kwargs)

    monkeypatch.setattr(gymnasium, "make", recording)
    return ids


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a worker ends before the others
        shutil.rmtree(COMPILED, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests with processes first: they take longest, and the last one would keep one worker alone."""
    items.sort(key=lambda item: item.get_closest_marker("process") is None)
