"""The rows of a memory in files: each is written once, and together they are the rows, bit for bit."""

import errno
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from records import same

import dqn.memory.segments
from dqn.errors import UserError
from dqn.memory import NStep, ReplayMemory, Uniform
from dqn.storage.checkpoint import Checkpoint, TorchPart
from dqn.types import FEED_FORWARD, EnvSpec, ObsSpec, Row

FLOATS = ObsSpec((3,), np.dtype(np.float32), 0, 1.0)
FRAMES = ObsSpec((6, 6), np.dtype(np.uint8), 0, 1 / 255)
SHAPE = (2, 2)
"""Seeds and environments."""


def make(obs: ObsSpec = FLOATS, capacity: int = 100) -> ReplayMemory:
    return ReplayMemory(
        capacity=capacity,
        reader=lambda *, gamma: NStep(n_step=2, gamma=gamma),
        sampler=Uniform,
        gamma=0.9,
        spec=EnvSpec(obs, 2, None),
        seeds=range(SHAPE[0]),
        num_envs=SHAPE[1],
        device=torch.device("cpu"),
        network=FEED_FORWARD,
    )


class Play:
    """Pushes random rows with pauses; a column's iteration ends as its episodes do, unless it is `cut`."""

    def __init__(self, memory: ReplayMemory, seed: int = 0) -> None:
        self.memory, self.random = memory, np.random.default_rng(seed)
        self.slow = np.zeros(SHAPE, np.bool_)

    def push(self, count: int, *, cut: bool = True) -> None:
        obs = self.memory.ring.obs
        for step in range(count):
            now, following = (
                (self.random.random((*SHAPE, *obs.shape[1:])) * 9).astype(obs.dtype) for _ in range(2)
            )
            active = (self.random.random(SHAPE) < 0.8) & ~self.slow
            if cut and step + 1 == count:
                active[:] = True
            terminated = active & (self.random.random(SHAPE) < 0.1)
            truncated = active & ~terminated & bool(cut and step + 1 == count)
            action = self.random.integers(0, 2, SHAPE)
            reward = self.random.random(SHAPE, np.float32)
            self.memory.push(
                Row(now, action, reward, following, terminated, truncated, active & False, active)
            )


def parts(memory: ReplayMemory) -> dict[str, Any]:
    return {"memory": TorchPart(memory), "rows": memory.rows}


def held(memory: ReplayMemory) -> dict[str, np.ndarray]:
    return {name: array for name, array in vars(memory.ring).items() if isinstance(array, np.ndarray)}


def assert_stored(checkpoint: Checkpoint, memory: ReplayMemory) -> ReplayMemory:
    """Assert that a new process would have the same memory, and return that."""
    ring = memory.ring
    spec = EnvSpec(ObsSpec(ring.obs.shape[1:], ring.obs.dtype, 0, 1.0), 2, None)
    other = make(spec.obs, ring.rows * ring.num_envs)
    checkpoint.restore(parts(other))
    same(held(other), held(memory))
    return other


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path)


def rows_of(checkpoint: Checkpoint) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in checkpoint.folder.glob("rows-*")}


@pytest.mark.parametrize("cut", [True, False], ids=["ended", "in the middle of episodes"])
@pytest.mark.parametrize("sealed", [0, 2000, 10**9], ids=["append", "some grow", "one file"])
@pytest.mark.parametrize(
    ("obs", "steps"), [(FLOATS, 1), (FRAMES, 7), (FLOATS, 7), (FLOATS, 40), (FRAMES, 120)]
)
def test_every_save_is_the_memory(checkpoint, monkeypatch, *, cut, sealed, obs, steps):
    """Another process resumes each time: the columns wrap, pause and are overwritten at once."""
    monkeypatch.setattr(dqn.memory.segments, "SEALED", sealed)
    monkeypatch.setattr(dqn.memory.segments, "PIECE", 100)
    memory = make(obs)
    play = Play(memory)
    for iteration in range(1, 13):
        play.push(steps, cut=cut)
        checkpoint.save(iteration, parts(memory))
        other = assert_stored(checkpoint, memory)
        if iteration % 3 == 0:
            play.memory = memory = other
    if sealed == 10**9:
        assert list(rows_of(checkpoint)) == ["rows-12.rows"]


def test_each_save_writes_what_is_new_and_drops_what_is_overwritten(checkpoint, monkeypatch):
    monkeypatch.setattr(dqn.memory.segments, "SEALED", 0)
    memory = make(capacity=200)  # 100 rows a column
    play = Play(memory)
    before: dict[str, int] = {}
    for iteration in range(1, 30):
        play.push(10)
        checkpoint.save(iteration, parts(memory))
        files = rows_of(checkpoint)
        new = files.keys() - before.keys()
        assert new == {f"rows-{iteration}.rows"}
        assert files[new.pop()] < 4 * 12 * 22 + 400, "ten steps, a closing row and the next one"
        assert {name: files[name] for name in files.keys() & before.keys()}.items() <= before.items()
        before = files
    assert 10 <= len(before) <= 16


def test_columns_of_different_speeds_need_no_more_room(checkpoint, monkeypatch):
    """Otherwise the slowest one, such as a seed with short episodes, keeps all files of the others."""
    monkeypatch.setattr(dqn.memory.segments, "SEALED", 0)
    memory = make(capacity=200)
    play = Play(memory)
    play.slow = np.array([[True, False], [False, False]])
    for iteration in range(1, 60):
        play.push(10)
        checkpoint.save(iteration, parts(memory))
        whole = memory.ring.end.size * memory.ring.bytes_per_row
        assert sum(rows_of(checkpoint).values()) < 3 * whole + 400 * len(rows_of(checkpoint))
    assert_stored(checkpoint, memory)


def test_a_small_memory_is_one_file(checkpoint):
    memory = make()
    play = Play(memory)
    for iteration in range(1, 4):
        play.push(50)
        checkpoint.save(iteration, parts(memory))
        assert list(rows_of(checkpoint)) == [f"rows-{iteration}.rows"]


def test_the_size_from_which_a_file_stays(checkpoint, monkeypatch):
    memory = make(capacity=40_000)
    monkeypatch.setattr(dqn.memory.segments, "SEALED", 4000 * memory.ring.bytes_per_row)
    play = Play(memory)
    names = []
    for iteration in range(1, 9):
        play.push(700)
        checkpoint.save(iteration, parts(memory))
        names.append(sorted(rows_of(checkpoint)))
    assert names[-1] == [f"rows-{i}.rows" for i in (2, 4, 6, 8)]
    assert_stored(checkpoint, memory)


def test_frames_are_compressed_and_floats_are_not(checkpoint):
    sizes = {}
    for obs in (FLOATS, FRAMES):
        memory = make(obs, capacity=4000)
        Play(memory).push(900)
        memory.ring.obs[:] = 0
        checkpoint.save(1, parts(memory))
        sizes[obs] = rows_of(checkpoint)["rows-1.rows"] / (
            memory.ring.written.sum() * memory.ring.bytes_per_row
        )
    assert sizes[FRAMES] < 0.2
    assert 1 <= sizes[FLOATS] < 1.1


@pytest.mark.parametrize("sealed", [0, 10**9])
def test_a_failed_save_is_made_up_for_by_the_next(checkpoint, monkeypatch, sealed):
    """Whichever file could not be made durable: what the manifest names is whole, and so is the next save."""
    monkeypatch.setattr(dqn.memory.segments, "SEALED", sealed)
    memory = make()
    play = Play(memory)
    fsync = os.fsync
    for iteration in range(1, 21):
        play.push(8)
        calls = []

        def fails(descriptor: int, calls: list[int] = calls, number: int = iteration % 5) -> None:
            calls.append(descriptor)
            if len(calls) == number:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(descriptor)

        with monkeypatch.context() as context:
            context.setattr(os, "fsync", fails)
            if iteration % 5:
                with pytest.raises(UserError, match="No space left"):
                    checkpoint.save(iteration, parts(memory))
                continue
            checkpoint.save(iteration, parts(memory))
        assert_stored(checkpoint, memory)


def test_a_memory_saved_to_another_folder_is_whole_there(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(dqn.memory.segments, "SEALED", 0)
    memory = make()
    play = Play(memory)
    for iteration in range(1, 4):
        play.push(5)
        checkpoint.save(iteration, parts(memory))
    (tmp_path / "other").mkdir()
    other = Checkpoint(tmp_path / "other")
    other.save(4, parts(memory))
    assert_stored(other, memory)


# What is not as it was written


def forge(checkpoint: Checkpoint, edit: Any) -> Any:
    """Return the reading of rows whose bytes were edited and whose hash was not looked at."""
    path = checkpoint.folder / "rows-1.rows"
    path.write_bytes(edit(path.read_bytes()))
    memory = make(FRAMES)
    memory.load_state_dict(checkpoint.load("memory"))
    memory.rows.load(checkpoint.folder, [path.name])


def first_line_end(content: bytes) -> int:
    return content.index(b"\n") + 1


def bounds(content: bytes, column: int, start: int, stop: int) -> bytes:
    at = first_line_end(content)
    numbers = np.frombuffer(content[at : at + 64], np.int64).reshape(2, 4).copy()
    numbers[:, column] = start, stop
    return content[:at] + numbers.tobytes() + content[at + 64 :]


def payload(content: bytes, edit: Any) -> bytes:
    at = first_line_end(content) + 64
    return content[:at] + gzip.compress(edit(gzip.decompress(content[at:])))


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda content: b"", "other columns, shapes or types"),
        (lambda content: content.replace(b"|u1", b"|i1", 1), "other columns, shapes or types"),
        (lambda content: content.replace(b"|u1", b"|O1", 1), "other columns, shapes or types"),
        (lambda content: content.replace(b"50, 6, 6", b"50, 6, 7"), "other columns, shapes or types"),
        (lambda content: content[: first_line_end(content) + 30], "buffer size|reshape"),
        (lambda content: bounds(content, 1, -1, 5), "more rows than a column, or fewer than none"),
        (lambda content: bounds(content, 1, 9, 8), "more rows than a column, or fewer than none"),
        (lambda content: bounds(content, 1, 0, 50), "more rows than a column, or fewer than none"),
        (lambda content: bounds(content, 1, 0, 2**62), "more rows than a column, or fewer than none"),
        (lambda content: bounds(content, 1, 0, 4), "fewer or more bytes|last rows are not"),
        (lambda content: payload(content, lambda rows: rows[:-1]), "fewer or more bytes"),
        (lambda content: payload(content, lambda rows: rows + b"\0"), "fewer or more bytes"),
        (lambda content: payload(content, lambda rows: rows + bytes(10**8)), "fewer or more bytes"),
        (lambda content: content[:-20], "cannot be read"),
        (lambda content: content[:-6] + bytes(6), "cannot be read"),
        (lambda content: content[: first_line_end(content) + 64] + b"no gzip", "cannot be read"),
    ],
    ids=range(16),
)
def test_rows_that_are_none_of_this_memory(checkpoint, edit, text):
    memory = make(FRAMES)
    Play(memory).push(9)
    checkpoint.save(1, parts(memory))
    assert int(memory.ring.written[1]) != 4
    with pytest.raises(ValueError, match=text):
        forge(checkpoint, edit)


@pytest.mark.parametrize("other", [make(FRAMES), make(capacity=96)], ids=["observations", "capacity"])
def test_a_memory_of_another_kind_is_refused(checkpoint, other):
    memory = make()
    Play(memory).push(9)
    checkpoint.save(1, parts(memory))
    with pytest.raises(UserError, match=r"not of this run.*(other columns|uint8)"):
        checkpoint.restore(parts(other))


def test_rows_of_another_save_are_refused(checkpoint, tmp_path: Path):
    """Each file is whole, but the rows end before the counters do."""
    memory = make()
    play = Play(memory)
    play.push(9)
    checkpoint.save(1, parts(memory))
    play.push(9)
    checkpoint.save(2, {"memory": TorchPart(memory)})
    with pytest.raises(UserError, match=r"not of this run.*last rows are not"):
        checkpoint.restore(parts(make()))
