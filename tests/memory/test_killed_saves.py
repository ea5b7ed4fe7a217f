"""A process that is killed at any point of a save continues from the last whole checkpoint, bit for bit."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kills import assert_no_stray_files
from records import same

import dqn.memory.segments
import dqn.storage.checkpoint
import dqn.storage.durable_files
from dqn.errors import UserError
from dqn.memory import NStep, Prioritized, ReplayMemory
from dqn.memory.segments import Segments
from dqn.schedule import Constant
from dqn.storage.checkpoint import Checkpoint, TorchPart
from dqn.types import FEED_FORWARD, EnvSpec, ObsSpec, Row

SHAPE = (2, 1)
"""Seeds and environments."""
STEPS = 6
"""Steps of each column in an iteration; with closing rows they are about a third of the memory's rows."""


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it, and what the process holds is thrown away."""


def make() -> ReplayMemory:
    return ReplayMemory(
        capacity=18,
        reader=partial(NStep, n_step=2),
        sampler=partial(Prioritized, alpha=0.5, beta=Constant(value=1.0), epsilon=0.1, max_weight="batch"),
        gamma=0.9,
        spec=EnvSpec(ObsSpec((5, 5), np.dtype(np.uint8), 0, 1.0, 3), 2, None),
        seeds=range(SHAPE[0]),
        num_envs=SHAPE[1],
        device=torch.device("cpu"),
        network=FEED_FORWARD,
    )


def play(memory: ReplayMemory, iteration: int) -> None:
    """Store the steps of an iteration, sample and set priorities; it starts and ends with new episodes."""
    random = np.random.default_rng(iteration)
    for step in range(STEPS):
        obs, next_obs = random.integers(1, 256, (2, *SHAPE, 5, 5), np.uint8)
        active = random.random(SHAPE) < 0.9
        terminated, lost = active & (random.random(SHAPE) < 0.1), active & (random.random(SHAPE) < 0.1)
        truncated = active & ~terminated & (step + 1 == STEPS)
        action, reward = random.integers(0, 2, SHAPE), random.random(SHAPE, np.float32)
        memory.push(Row(obs, action, reward, next_obs, terminated, truncated, lost, active))
    memory.update_priorities(memory.sample(4).row, random.random((SHAPE[0], 4)))


def parts(memory: ReplayMemory) -> dict[str, Any]:
    return {"memory": TorchPart(memory), "rows": memory.rows}


def content(memory: ReplayMemory) -> Any:
    """Return everything that the memory holds."""
    arrays = {
        name: array.copy() for name, array in vars(memory.ring).items() if isinstance(array, np.ndarray)
    }
    return {"state": memory.state_dict(), **arrays}


def restored(folder: Path) -> ReplayMemory:
    """Return the memory that a new process has."""
    memory, checkpoint = make(), Checkpoint(folder)
    if checkpoint.exists():
        checkpoint.restore(parts(memory))
    return memory


@contextmanager
def killed_at(number: float) -> Iterator[list[str]]:
    """Kill a save at its point of this number; provide the names of the points that it came to."""
    points: list[str] = []

    def point(name: str) -> None:
        points.append(name)
        if len(points) == number:
            raise Killed

    def before(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(*args: Any) -> Any:
            point(name)
            return original(*args)

        return replaced

    pieces = Segments._pieces

    def watched(self: Segments, *args: Any) -> Iterator[Any]:
        for piece in pieces(self, *args):
            yield piece
            point("rows")

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Segments, "_pieces", watched)
        monkeypatch.setattr(os, "fsync", before("fsync", os.fsync))
        for module, name in ((dqn.storage.durable_files, "replace"), (dqn.storage.checkpoint, "remove")):
            monkeypatch.setattr(module, name, before(name, getattr(module, name)))
        yield points


def tear(folder: Path) -> None:
    """Cut the files that no manifest names, which a real kill leaves incomplete."""
    checkpoint = Checkpoint(folder)
    entries = checkpoint._files().values()
    named = {"manifest.json", *(entry["name"] for part in entries for entry in part)}
    for path in checkpoint.folder.iterdir():
        if path.name not in named:
            os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("sealed", [0, 10**9], ids=["append", "one file"])
def test_killed_at_every_point_of_a_save(tmp_path, monkeypatch, sealed):
    """At the first save, and at one in which the columns wrap around and a file of rows is dropped."""
    monkeypatch.setattr(dqn.memory.segments, "SEALED", sealed)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow; the pages of a killed process stay
    folder = tmp_path / "run"
    folder.mkdir()
    memory = make()
    for iteration in range(1, 5):
        before, rounds = content(memory), memory.ring.written // memory.ring.rows
        copy = shutil.copytree(folder, tmp_path / f"copy-{iteration}")
        play(memory, iteration)
        with killed_at(np.inf) as points:
            Checkpoint(folder).save(iteration, parts(memory))
        if iteration in (2, 3):
            continue
        assert points.count("rows") >= 8
        assert points.count("remove") == (0 if iteration == 1 else 2)
        for number in range(1, len(points) + 1):
            another = shutil.copytree(copy, tmp_path / f"{iteration}-{number}")
            continues(another, iteration, number, before, memory)
    assert (memory.ring.written // memory.ring.rows > rounds).any(), "the last save wrapped around"


def continues(folder: Path, iteration: int, number: int, before: Any, after: ReplayMemory) -> None:
    """Assert that a run that is killed at a point of its save ends as if it had not been killed."""
    memory = restored(folder)
    play(memory, iteration)
    with killed_at(number) as points, pytest.raises(Killed):
        Checkpoint(folder).save(iteration, parts(memory))
    tear(folder)
    memory = restored(folder)
    if points.count("replace") == 0 or points[-1] == "replace":  # the manifest is the previous one
        same(content(memory), before)
        play(memory, iteration)
        Checkpoint(folder).save(iteration, parts(memory))
        assert_no_stray_files(folder)
        memory = restored(folder)
    same(content(memory), content(after))


def test_a_damaged_file_of_rows_is_refused_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(dqn.memory.segments, "SEALED", 0)
    memory = make()
    for iteration in range(1, 4):
        play(memory, iteration)
        Checkpoint(tmp_path).save(iteration, parts(memory))
    paths = sorted((tmp_path / "checkpoint").glob("rows-*"))
    assert len(paths) > 1
    for path in paths:
        whole = path.read_bytes()
        at = len(whole) - 40
        for damaged in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:-1]):
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=f"{path}: damaged"):
                restored(tmp_path)
        path.unlink()
        with pytest.raises(UserError, match=f"{path}: not a readable part"):
            restored(tmp_path)
        path.write_bytes(whole)
    same(content(restored(tmp_path)), content(memory))
