"""Files of a run folder that are no files, or that would cost far more than their size to read."""

import os
import shutil
import stat
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import config_of, train_run

import dqn
from dqn.config.preflight import continued
from dqn.config.trust import load_config
from dqn.report.read import find_runs
from dqn.report.write import read_runs
from dqn.storage.checkpoint import SMALL, Checkpoint
from dqn.storage.folder import RunFolder
from dqn.storage.metrics import read_lines
from dqn.storage.tensor_file import bytes_of, load_tensors

OVERRIDES = ["runner.total_episodes=2", "runner.iteration_length=2", "runner.eval_episodes=0"]
FILES = [".hydra/config.yaml", "status.json", "checkpoint/manifest.json", "checkpoint/policy-1.pt"]
FILES += ["seed=0/metrics.jsonl", ".lock"]


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "run"
    train_run(folder, OVERRIDES)
    return folder


def link(path: Path) -> None:
    path.symlink_to(path.rename(path.parents[2] / "elsewhere"))


def linked_folder(path: Path) -> None:
    path.parent.rename(path.parents[2] / "folder")
    path.parent.symlink_to(path.parents[2] / "folder")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def device(path: Path) -> None:
    path.unlink()
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no device may be made here")


KINDS = [link, linked_folder, pipe, endless, device]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_no_file_is_followed_or_waited_for(template, tmp_path, name, make):
    run = Path(shutil.copytree(template, tmp_path / "a" / "run"))
    if make is linked_folder and (run / name).parent == run:
        pytest.skip("a run folder may be given by a link")
    make(run / name)
    folder = RunFolder(run)
    reads: list[Callable[[], object]] = [
        lambda: load_config(folder, []),
        lambda: continued(config_of(OVERRIDES), folder),
    ]
    for read in reads:
        with pytest.raises(dqn.UserError, match=r"a symbolic link|a pipe, socket or device"):
            read()
    assert not folder.in_use()
    if name == "status.json":
        assert folder.stored_status() == {}
    if name.startswith("seed"):
        assert list(read_lines(run, 0)) == []
    if name.startswith("checkpoint/p"):
        with pytest.raises(dqn.UserError, match="not a plain file in this folder"):
            Checkpoint(run).load("policy")
    if name.startswith("checkpoint/m"):
        with pytest.raises(dqn.UserError, match="not a readable checkpoint manifest"):
            Checkpoint(run).load("policy")
    good = Path(shutil.copytree(template, tmp_path / "good"))
    runs, unreadable = read_runs([run, good])
    assert len(runs) == 2 - len(unreadable)
    assert len(unreadable) == name.startswith(".hydra")


def test_folders_nested_without_an_end(template, tmp_path):
    run = Path(shutil.copytree(template, tmp_path / "runs" / "run"))
    deep = [str(run), str(tmp_path / "runs")]
    limit = sys.getrecursionlimit()
    for _ in range(300):
        deep = [f"{path}/a" for path in deep]
        for path in deep:
            os.mkdir(path)
    sys.setrecursionlimit(300)
    try:
        assert load_config(RunFolder(run), [])
        assert find_runs([tmp_path / "runs"]) == [run]
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("name", FILES[:-1])
def test_files_without_an_end_are_not_read(template, tmp_path, name):
    run = Path(shutil.copytree(template, tmp_path / "run"))
    os.truncate(run / name, 2**40)
    folder = RunFolder(run)
    if name == "status.json":
        assert folder.stored_status() == {}
    elif name.startswith("seed"):
        assert list(read_lines(run, 0)) == []
    else:
        with pytest.raises(dqn.UserError, match="has more than"):
            Checkpoint(run).load("policy") if name.startswith("checkpoint") else folder.read_config()


def test_a_part_may_not_be_larger_than_its_run_needs(template, tmp_path):
    run = Path(shutil.copytree(template, tmp_path / "run"))
    with pytest.raises(dqn.UserError, match="the part 'policy' is too large for this run"):
        Checkpoint(run).load("policy", most=1000)
    assert Checkpoint(run).load("policy", most=SMALL)


def compressed(path: Path) -> None:
    """Write a file of a few kB that torch unpacks to a MB."""
    torch.save({"a": torch.zeros(250_000)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def nested(path: Path) -> None:
    """Write a list of 10^30 numbers, which are all the same ten."""
    value = [1] * 10
    for _ in range(30):
        value = [value] * 10
    torch.save({"a": value}, path)


def cyclic(path: Path) -> None:
    value: list[object] = []
    value.append(value)
    torch.save({"a": value}, path)


def expanded(path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**12)}, path)


def pickled(code: bytes) -> Callable[[Path], None]:
    """Return a function that writes a file with this pickle."""

    def write(path: Path) -> None:
        torch.save({}, path)
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, code if name.endswith("data.pkl") else content)

    return write


BOMBS = {
    "compressed": (compressed, "compressed"),
    "nested": (nested, "repeat each other"),
    "cyclic": (cyclic, "repeat each other"),
    "expanded": (expanded, "repeat each other"),
    "bytes": (pickled(b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x10\x85R."), "bytearray"),
    "a tensor": (pickled(b"\x80\x02ctorch\nFloatTensor\n\x8a\x05\x00\x00\x00\x00\x10\x85R."), "FloatTensor"),
    "a digit too many": (pickled(b"\x80\x02L" + b"9" * 10_000 + b"L\n."), "digits"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_files_that_unpack_to_any_size(tmp_path, bomb):
    write, message = BOMBS[bomb]
    write(tmp_path / "file")
    assert (tmp_path / "file").stat().st_size < 300_000
    with pytest.raises(ValueError, match=message):
        load_tensors(tmp_path / "file")


def test_what_parts_hold_is_loaded(tmp_path):
    kinds = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.complex64]
    kinds += [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32]
    state = {
        "tensors": [torch.zeros(3, dtype=kind) for kind in kinds],
        "plain": [1, 2.5, None, True, "x", 2**200],
    }
    state |= {"ordered": OrderedDict(a=1), "parameter": torch.nn.Parameter(torch.ones(2))}
    torch.save(state, tmp_path / "file")
    loaded = load_tensors(tmp_path / "file")
    assert loaded["plain"] == state["plain"]
    assert [one.dtype for one in loaded["tensors"]] == kinds
    assert bytes_of({"a": [torch.zeros(3), {"b": (torch.zeros(2, dtype=torch.uint8),)}]}) == 14
