"""Checkpoints: written whole or not at all, read only if they are what was written, and never run."""

import errno
import hashlib
import json
import os
import pickle
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from records import same

import dqn.storage.durable_files
from dqn.errors import UserError
from dqn.storage.checkpoint import FORMAT, Checkpoint, TorchPart
from dqn.storage.durable_files import replace_file, write_json
from dqn.storage.folder import RunFolder

PARTS = ("policy", "extra", "memory")


def state(iteration: int, size: int = 50) -> dict[str, Any]:
    """Return parts that tell which iteration they are of."""
    return {
        "policy": {"weight": torch.full((2, 3), float(iteration))},
        "extra": {"tick": iteration, "stream": {"state": 2**127 + iteration}, "returns": [1.5, None, "x"]},
        "memory": {"obs": np.full((size, 4), iteration, np.uint8), "is_start": np.zeros(3, np.bool_)},
    }


class Holder:
    """Has a state, as an agent or a memory has."""

    def __init__(self, state: Any = None) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def parts(iteration: int, size: int = 50) -> dict[str, TorchPart]:
    return {part: TorchPart(Holder(content)) for part, content in state(iteration, size).items()}


def assert_holds(checkpoint: Checkpoint, iteration: int) -> None:
    """Assert that a new process would read just this iteration."""
    fresh = Checkpoint(checkpoint.folder.parent)
    assert fresh.iteration() == iteration
    expected = state(iteration)
    expected["memory"] = {name: torch.from_numpy(x) for name, x in expected["memory"].items()}
    same({part: fresh.load(part) for part in PARTS}, expected)
    holders = {part: Holder() for part in PARTS}
    fresh.restore({part: TorchPart(holder) for part, holder in holders.items()})
    same({part: holder.state for part, holder in holders.items()}, expected)


@pytest.fixture
def checkpoint(tmp_path):
    """Return the checkpoint of iteration 1."""
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(1, parts(1))
    return checkpoint


def edit_manifest(checkpoint: Checkpoint, edit: Callable[[Any], Any]) -> None:
    manifest = json.loads(checkpoint.manifest.read_text())
    checkpoint.manifest.write_text(json.dumps(edit(manifest) or manifest))


def forge(checkpoint: Checkpoint, content: bytes) -> None:
    """Replace the policy by other bytes, of which the manifest tells as if they were its own."""
    path = checkpoint.folder / "policy-1.pt"
    path.write_bytes(content)
    entry = {"name": path.name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_manifest(checkpoint, lambda manifest: manifest["files"].update(policy=[entry]))


def test_what_was_saved_is_loaded(checkpoint):
    assert checkpoint.exists()
    assert_holds(checkpoint, 1)
    checkpoint.save(12, parts(12))
    assert_holds(checkpoint, 12)


def test_old_files_are_removed(checkpoint):
    (checkpoint.folder / "memory-7.pt").write_bytes(b"of a crash")
    (checkpoint.folder / "manifest.json.tmp").write_bytes(b"of a crash")
    checkpoint.save(2, parts(2))
    names = {path.name for path in checkpoint.folder.iterdir()}
    assert names == {"manifest.json", "policy-2.pt", "extra-2.pt", "memory-2.pt"}


def test_no_checkpoint(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    assert not checkpoint.exists()
    with pytest.raises(UserError, match=f"{checkpoint.folder}: no checkpoint"):
        checkpoint.load("policy")
    with pytest.raises(UserError, match=f"{checkpoint.folder}: no checkpoint"):
        checkpoint.iteration()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: content[:-1] + bytes([content[-1] ^ 128]),
        lambda content: content + b"\0",
        lambda content: b"another file" * 100,
    ],
    ids=["truncated", "empty", "a bit", "the last bit", "longer", "foreign"],
)
def test_a_damaged_part(checkpoint, part, damage):
    path = checkpoint.folder / f"{part}-1.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=f"{path}: damaged"):
        checkpoint.load(part)
    for other in set(PARTS) - {part}:
        checkpoint.load(other)


def test_a_missing_part(checkpoint):
    path = checkpoint.folder / "memory-1.pt"
    path.unlink()
    with pytest.raises(UserError, match=f"{path}: not a readable part.*No such file"):
        checkpoint.load("memory")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[1, 2]", b"7", b'"text"', b"\xff\xfe", b"[" * 100_000, b"{}", b"9" * 5000),
        *(b'{"format": 4}', b'{"format": null}', b'{"format": "4"}'),
        b'{"format": 4, "iteration": -1, "files": {}}',
    ],
)
def test_a_foreign_manifest(checkpoint, content):
    checkpoint.manifest.write_bytes(content)
    with pytest.raises(UserError, match=f"{checkpoint.manifest}: not a readable"):
        checkpoint.load("policy")


@pytest.mark.parametrize("version", [FORMAT - 1, FORMAT + 1])
def test_another_format(checkpoint, version):
    edit_manifest(checkpoint, lambda manifest: {"format": version, "other": "keys"})
    with pytest.raises(
        UserError, match=f"{checkpoint.manifest}: checkpoint format {version};.*reads {FORMAT}"
    ):
        checkpoint.load("policy")


@pytest.mark.parametrize(
    "name", ["../../policy-1.pt", "/etc/passwd", "policy-1.pt/", "memory-1.pt", "policy-1.pt\n", "", None, 3]
)
def test_a_manifest_that_names_other_files(checkpoint, name):
    edit_manifest(checkpoint, lambda manifest: manifest["files"]["policy"][0].update(name=name))
    with pytest.raises(UserError, match=f"{checkpoint.manifest}: (lists no valid|not a readable)"):
        checkpoint.load("policy")


@pytest.mark.parametrize("entries", [[], {}, None, "policy-1.pt", ["policy-1.pt"], [None], [{}]])
def test_a_manifest_whose_files_are_no_list_of_files(checkpoint, entries):
    edit_manifest(checkpoint, lambda manifest: manifest["files"].update(policy=entries))
    with pytest.raises(UserError, match=f"{checkpoint.manifest}: not a readable"):
        checkpoint.load("policy")


class Appending:
    """A part that writes a file each time and keeps the latest three."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def save(self, folder: Path, stem: str) -> list[str]:
        (folder / f"{stem}.txt").write_text(stem)
        self.names = [*self.names, f"{stem}.txt"][-3:]
        return self.names

    def load(self, folder: Path, names: list[str]) -> None:
        self.names = names

    def most_bytes(self) -> int:
        return 100


def test_files_of_earlier_saves_are_kept_while_a_part_names_them(checkpoint, monkeypatch):
    """They are neither written nor read again."""
    part, hashed, entry = Appending(), [], Checkpoint._entry

    def recorded(self: Checkpoint, name: str) -> dict[str, Any]:
        hashed.append(name)
        return entry(self, name)

    monkeypatch.setattr(Checkpoint, "_entry", recorded)
    for iteration in range(1, 6):
        checkpoint.save(iteration, {"rows": part})
        assert hashed.pop() == f"rows-{iteration}.txt"
        assert not hashed
        kept = [f"rows-{i}.txt" for i in range(max(1, iteration - 2), iteration + 1)]
        assert sorted(path.name for path in checkpoint.folder.glob("rows-*")) == kept
        again = Appending()
        Checkpoint(checkpoint.folder.parent).restore({"rows": again})
        assert again.names == kept
        hashed.clear()
    assert checkpoint.load("extra")["tick"] == 1, "a part that was not saved stays"
    (checkpoint.folder / "rows-4.txt").write_text("ROWS-4")
    with pytest.raises(UserError, match=r"rows-4.txt: damaged"):
        checkpoint.restore({"rows": part})


def test_a_second_save_of_one_iteration_counts(checkpoint):
    checkpoint.save(1, parts(2))
    assert checkpoint.load("policy")["weight"][0, 0] == 2


class Payload:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def zipped(content: Any, path: Path) -> bytes:
    torch.save(content, path)
    return path.read_bytes()


@pytest.mark.parametrize("how", ["pickle", "torch", "nested", "module"])
def test_no_code_runs_on_load(checkpoint, tmp_path, how):
    mark = tmp_path / "mark"
    content = {
        "pickle": lambda: pickle.dumps(Payload(mark)),
        "torch": lambda: zipped(Payload(mark), tmp_path / "file"),
        "nested": lambda: zipped({"weight": [torch.zeros(1), Payload(mark)]}, tmp_path / "file"),
        "module": lambda: zipped(torch.nn.Linear(1, 1), tmp_path / "file"),
    }[how]()
    forge(checkpoint, content)
    with pytest.raises(UserError, match=f"{checkpoint.folder}/policy-1.pt: not a readable part"):
        checkpoint.load("policy")
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04 not a zip file", b"junk" * 99, b"\x80\x02."])
def test_foreign_bytes_with_a_fitting_manifest(checkpoint, content):
    forge(checkpoint, content)
    with pytest.raises(UserError, match=f"{checkpoint.folder}/policy-1.pt: not a readable part"):
        checkpoint.load("policy")


class Crash(BaseException):
    """Stands for the end of the process."""


OPERATIONS = [
    (Path, "mkdir"),
    (Path, "open"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "stat"),
    (torch, "save"),
    (os, "open"),
    (os, "fsync"),
]


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> Iterator[list[str]]:
    """Raise `error` instead of the file operation of that number; yield the names of all that were asked for.

    A crash lets no later operation happen; after an error they work again.
    """
    names: list[str] = []

    def patch(target: Any, name: str) -> None:
        original = getattr(target, name)

        def replaced(*args: Any, **kwargs: Any) -> Any:
            names.append(name)
            if len(names) == number or (len(names) > number and isinstance(error, Crash)):
                raise error
            return original(*args, **kwargs)

        context.setattr(target, name, replaced)

    with monkeypatch.context() as context:
        for target, name in OPERATIONS:
            patch(target, name)
        yield names


def saved_once(folder: Path) -> Checkpoint:
    folder.mkdir()
    checkpoint = Checkpoint(folder)
    checkpoint.save(1, parts(1))
    return checkpoint


def number_of_operations(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    checkpoint = saved_once(folder)
    with failing(monkeypatch, 0, OSError()) as names:
        checkpoint.save(2, parts(2))
    assert {name for _, name in OPERATIONS} == set(names)
    return len(names)


def test_a_crash_between_any_two_operations(tmp_path, monkeypatch):
    count = number_of_operations(tmp_path / "count", monkeypatch)
    held = []
    for number in range(1, count + 1):
        checkpoint = saved_once(tmp_path / str(number))
        with failing(monkeypatch, number, Crash()), pytest.raises(Crash):
            checkpoint.save(2, parts(2))
        held.append(checkpoint.iteration())
        assert_holds(checkpoint, held[-1])
        checkpoint.save(2, parts(2))  # what the resumed run does if the crash came before the manifest
        assert_holds(checkpoint, 2)
        assert len(list(checkpoint.folder.iterdir())) == 4
    assert held == sorted(held)
    assert set(held) == {1, 2}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="learns by /proc what is synced")
def test_all_is_durable_before_the_manifest_names_it(checkpoint, monkeypatch):
    """A power failure may otherwise leave a manifest of files that never reached the disk."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def recorded_replace(path: Path, target: Path) -> Path:
        done.append(f"replace {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    checkpoint.save(2, parts(2))
    assert done == [
        *("sync policy-2.pt", "sync extra-2.pt", "sync memory-2.pt", "sync checkpoint"),
        *(f"sync manifest.json.{os.getpid()}.tmp", "replace manifest.json", "sync checkpoint"),
    ]


def test_a_crash_in_the_first_save_leaves_none(tmp_path, monkeypatch):
    for number in range(1, 9):
        checkpoint = Checkpoint(tmp_path / str(number))
        checkpoint.folder.parent.mkdir()
        with failing(monkeypatch, number, Crash()), pytest.raises(Crash):
            checkpoint.save(1, parts(1))
        assert not checkpoint.exists()
        checkpoint.save(1, parts(1))
        assert_holds(checkpoint, 1)


def test_a_failure_of_any_operation(tmp_path, monkeypatch):
    count = number_of_operations(tmp_path / "count", monkeypatch)
    for number in range(1, count + 1):
        checkpoint = saved_once(tmp_path / str(number))
        full = OSError(errno.ENOSPC, "No space left on device")
        with failing(monkeypatch, number, full), pytest.raises(UserError) as caught:
            checkpoint.save(2, parts(2))
        assert str(checkpoint.folder) in str(caught.value)
        assert "No space left on device" in str(caught.value)
        assert_holds(checkpoint, checkpoint.iteration())
        if checkpoint.iteration() == 1:
            assert len(list(checkpoint.folder.iterdir())) == 4, "what could not be finished makes room"


def test_an_interrupt_within_a_write_stays_an_interrupt(checkpoint, monkeypatch):
    """The zip writer of torch answers it by an error of its own."""
    original = torch.save

    def save(content: Any, file: Any) -> None:
        writes = []

        class Interrupted:
            def write(self, some: bytes) -> int:
                writes.append(some)
                if len(writes) == 3:
                    raise KeyboardInterrupt
                return int(file.write(some))

            def flush(self) -> None:
                file.flush()

        original(content, Interrupted())

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(2, parts(2))
    assert_holds(checkpoint, 1)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_real_failing_write(checkpoint):
    with file_size_limit(20_000), pytest.raises(UserError, match=f"{checkpoint.folder}: .*File too large"):
        checkpoint.save(2, parts(2, size=100_000))
    assert_holds(checkpoint, 1)
    assert len(list(checkpoint.folder.iterdir())) == 4
    checkpoint.save(2, parts(2))
    assert_holds(checkpoint, 2)


@pytest.fixture
def small_disk():
    """Return a folder on a file system of 400 kB."""
    folder = Path(tempfile.mkdtemp())
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], capture_output=True, check=False
        ).returncode
    )
    if mounted:
        yield folder
        subprocess.run(["umount", folder], check=True)
    folder.rmdir()
    if not mounted:
        pytest.skip("no file system may be mounted here")


def test_a_full_disk(small_disk):
    checkpoint = Checkpoint(small_disk)
    checkpoint.save(1, parts(1))
    with pytest.raises(UserError, match=f"{checkpoint.folder}: .*No space left on device"):
        checkpoint.save(2, parts(2, size=100_000))
    assert_holds(checkpoint, 1)
    checkpoint.save(2, parts(2))
    assert_holds(checkpoint, 2)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be someone whom permissions concern."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unwritable_folder(checkpoint):
    checkpoint.folder.chmod(0o500)
    try:
        with unprivileged(), pytest.raises(UserError, match=f"{checkpoint.folder}: .*Permission denied"):
            checkpoint.save(2, parts(2))
    finally:
        checkpoint.folder.chmod(0o700)
    assert_holds(checkpoint, 1)


def test_a_file_where_the_folder_should_be(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.folder.write_text("")
    with pytest.raises(UserError, match=f"{checkpoint.folder}: .*File exists"):
        checkpoint.save(1, parts(1))


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_json_is_valid_whatever_is_written(tmp_path, odd):
    path = tmp_path / "status.json"
    write_json(path, {"result": odd, "evaluation": {"0": [odd, 1.0], "1": (odd,)}, "git": "\x1b\udc80"})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(path.read_text(), parse_constant=refuse) == {
        **{"result": None, "evaluation": {"0": [None, 1.0], "1": [None]}, "git": "\x1b\\udc80"}
    }
    assert RunFolder(tmp_path).stored_status()["evaluation"]["0"] == [None, 1.0]


def test_no_file_in_the_way_of_a_new_one_is_followed(tmp_path):
    path, victim = tmp_path / "status.json", tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f"status.json.{os.getpid()}.tmp").symlink_to(victim)
    replace_file(path, "new")
    assert (path.read_text(), victim.read_text()) == ("new", "mine")


def test_replace_file_leaves_the_old_content_or_the_new(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    replace_file(path, "old")
    for name in ("fsync", "sync_folder"):
        with monkeypatch.context() as context:
            target = os if name == "fsync" else dqn.storage.durable_files

            def fail(*args: Any) -> None:
                raise OSError(errno.EIO, "fails")

            context.setattr(target, name, fail)
            with pytest.raises(OSError, match="fails"):
                replace_file(path, "new")
        assert path.read_text() == ("old" if name == "fsync" else "new")
        assert [path] == list(tmp_path.iterdir())
