"""The functions that differ between operating systems; Windows is simulated, the real one was not tried."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import call
from helpers import FINISHED, train_run

from dqn import system

POSIX = ["fork", "getloadavg", "getpgid", "killpg", "setsid", "sysconf", "wait4", "waitid"]
"""Functions of os that Windows lacks; getuid is left, because pytest needs it."""


@pytest.fixture
def windows(monkeypatch):
    """Take away what Windows lacks, and let it be asked for by the module that may ask."""
    monkeypatch.setattr(system, "sys", SimpleNamespace(platform="win32", maxsize=sys.maxsize))
    monkeypatch.delattr(system, "resource")
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.delattr(signal, "SIGKILL")
    for name in POSIX:
        monkeypatch.delattr(os, name)
    real = os.open

    def open_file(path, *args, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_file)


@pytest.mark.usefixtures("windows")
def test_a_run_on_windows(tmp_path):
    """It trains, resumes and is evaluated."""
    train_run(tmp_path, [*FINISHED, "runner.eval_episodes=1", "runner.eval_period=1"])
    assert call("resume", tmp_path, "runner.total_episodes=6").code == 0
    assert "mean" in call("evaluate", tmp_path, "episodes=1").text


def test_folders_are_synced_where_they_can_be(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    system.sync_folder(tmp_path)
    assert len(synced) == 1
    monkeypatch.setattr(system, "sys", SimpleNamespace(platform="win32"))
    system.sync_folder(tmp_path)
    assert len(synced) == 1


def refusing(times):
    """Return a function like Path.replace that raises a number of PermissionErrors first."""
    left = [PermissionError(errno.EACCES, "is open")] * times

    def replace(source, target):
        if left:
            raise left.pop()
        os.replace(source, target)

    return replace


def test_a_file_that_is_read_is_replaced_later(tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    new.write_text("new")
    monkeypatch.setattr(Path, "replace", refusing(1))
    with pytest.raises(PermissionError):
        system.replace(new, old)
    monkeypatch.setattr(Path, "replace", refusing(2))
    monkeypatch.setattr(system, "sys", SimpleNamespace(platform="win32"))
    system.replace(new, old)
    assert old.read_text() == "new"
    monkeypatch.setattr(system, "REPLACE_SECONDS", -1.0)
    monkeypatch.setattr(Path, "replace", refusing(1))
    with pytest.raises(PermissionError):
        system.replace(old, new)


def test_a_file_that_is_read_is_removed_later(tmp_path, monkeypatch):
    system.remove(tmp_path / "missing")

    def unlink(path, missing_ok):
        raise PermissionError(errno.EACCES, "is open")

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(PermissionError):
        system.remove(tmp_path / "old")
    monkeypatch.setattr(system, "sys", SimpleNamespace(platform="win32"))
    system.remove(tmp_path / "old")


@pytest.mark.usefixtures("windows")
def test_processes_of_windows_are_killed_with_those_they_started(monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: commands.append(command))
    system.lead_group()
    system.kill_group(7)
    assert commands == [["taskkill", "/F", "/T", "/PID", "7"]]


@pytest.mark.usefixtures("windows")
def test_limits_that_windows_does_not_report():
    assert system.machine_memory() == system.most_open_files() == sys.maxsize
    assert system.resident() == 0
    assert system.glibc_function("mallopt") is None
    assert system.compiler_problem() == "compiling was not tried on Windows"
    with system.preserve_open_files():
        system.allow_open_files(10**9)


QUOTED = [
    # a word, as typed in a POSIX shell, as typed on Windows
    ("a", "a", "a"),
    (r"C:\runs\a", r"'C:\runs\a'", r"C:\runs\a"),
    (r"C:\my runs\a", r"'C:\my runs\a'", r'"C:\my runs\a"'),
    ("seed=0,1", "seed=0,1", '"seed=0,1"'),
    ("", "''", '""'),
]


@pytest.mark.parametrize(("word", "posix", "windows"), QUOTED)
def test_words_as_typed(monkeypatch, word, posix, windows):
    assert system.quoted(word) == posix
    monkeypatch.setattr(system, "sys", SimpleNamespace(platform="win32"))
    assert system.quoted(word) == windows


def test_macos_has_a_lower_limit_of_open_files_than_it_reports(monkeypatch):
    if not hasattr(system, "resource"):
        pytest.skip("this system has no limits of open files")

    def setrlimit(*given):
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(system.resource, "getrlimit", lambda one: (256, system.resource.RLIM_INFINITY))
    monkeypatch.setattr(system.resource, "setrlimit", setrlimit)
    assert system.most_open_files() == sys.maxsize
    system.allow_open_files(20_000)


def test_no_other_module_asks_for_the_system():
    sources = {path: path.read_text() for path in Path(system.__file__).parent.rglob("*.py")}
    asking = {path.name for path, text in sources.items() if "sys.platform" in text or "os.name" in text}
    assert asking == {"system.py"}
