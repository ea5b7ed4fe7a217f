"""The command doctor."""

import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dqn import system
from dqn.cli import doctor
from dqn.cli.doctor import Finding, findings_of


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["doctor.py"])


def test_this_machine(capsys, tmp_path):
    """All checks run here, none of them leaves a file, and none is a problem."""
    with pytest.raises(SystemExit) as end:
        doctor.doctor()
    text = capsys.readouterr().out
    assert end.value.code == 0, text
    *lines, last = text.splitlines()
    assert {line.split()[0] for line in lines} <= {"OK", "note"}
    assert last == "no problems were found"
    assert list(tmp_path.iterdir()) == []
    for word in (f"torch {metadata.version('torch')}", "[video]", "cores", "disk", "default run"):
        assert word in text


def test_a_problem(capsys, monkeypatch):
    def broken():
        yield Finding("OK", "first", f"in {Path.home()}/runs")
        raise ImportError("libcudart.so.12: cannot open\x07")

    monkeypatch.setattr(doctor, "CHECKS", (broken,))
    with pytest.raises(SystemExit) as end:
        doctor.doctor()
    assert end.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "OK       first        in ~/runs",
        r"problem  broken       ImportError: libcudart.so.12: cannot open\x07",
        "problems: broken",
    ]


def old_python(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "python_version", lambda: "3.9.1")


def a_strangers_package(monkeypatch, tmp_path):
    names = [SimpleNamespace(metadata={"Name": name}) for name in ("dqn", "lockstep-dqn")]
    monkeypatch.setattr(metadata, "distributions", lambda: names)


def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(metadata, "distributions", list)


def another_checkout(monkeypatch, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "lockstep-dqn"\n')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")


def packages_of_other_versions(monkeypatch, tmp_path):
    table = {"dependencies": ["numpy>=99", "nosuch-package>=1"], "optional-dependencies": {}}
    monkeypatch.setattr(doctor, "project", lambda: table)


def no_extra(monkeypatch, tmp_path):
    table = {"dependencies": [], "optional-dependencies": {"video": ["nosuch-package>=1"], "dev": ["no"]}}
    monkeypatch.setattr(doctor, "project", lambda: table)


def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "nosuch-compiler")


def a_driver_without_cuda(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")


def two_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    about = SimpleNamespace(name="Model", total_memory=8e10)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: about)


def an_apple_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def a_quota(monkeypatch, tmp_path):
    monkeypatch.setattr(system, "CGROUPS", tmp_path)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000000\n")


def a_full_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**8))


def no_locks(monkeypatch, tmp_path):
    import filelock

    def acquire(self, *args, **options):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)


def another_system(monkeypatch, tmp_path):
    monkeypatch.setattr(system, "sys", SimpleNamespace(platform="darwin"))


def a_terminal_of_ascii(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(encoding="ascii", isatty=lambda: True))
    monkeypatch.setenv("TERM", "vt100")


CASES = [
    (old_python, doctor.python, "problem", "3.9.1, .*: should be >=3.11"),
    (another_system, doctor.python, "note", "only Linux is tested"),
    (
        a_strangers_package,
        doctor.package,
        "problem",
        "is another project: pip uninstall dqn, then pip install",
    ),
    (nothing_installed, doctor.package, "problem", "not installed in this Python: pip install"),
    (another_checkout, doctor.package, "problem", "not from this checkout, .*; here: pip install"),
    (
        packages_of_other_versions,
        doctor.packages,
        "problem",
        r"numpy [\d.]+ should be >=99, nosuch-package is not",
    ),
    (no_extra, doctor.packages, "note", r"nosuch-package is not installed: pip install .*\[video\]"),
    (no_compiler, doctor.compiler, "note", r"no C\+\+ compiler was found; .*; only agent.compile needs it"),
    (a_driver_without_cuda, doctor.devices, "note", "although an NVIDIA driver .* built without CUDA"),
    (two_gpus, doctor.devices, "OK", "cuda:1 +Model, 80 GB"),
    (an_apple_gpu, doctor.devices, "note", "device=mps was not tried"),
    (a_quota, doctor.processors, "OK", "may use 0.5$"),
    (a_quota, doctor.processors, "note", "1.0 GB for this process; memory.capacity may have to be smaller"),
    (a_full_disk, doctor.run_folders, "note", "0.1 GB free in .*; a checkpoint may not fit"),
    (no_locks, doctor.run_folders, "problem", "flock.*choose another hydra.run.dir"),
    (a_terminal_of_ascii, doctor.terminal, "OK", "TERM=vt100"),
    (a_terminal_of_ascii, doctor.terminal, "note", "ascii lacks some characters"),
]


@pytest.mark.parametrize("row", CASES)
def test_what_is_found(monkeypatch, tmp_path, row):
    case, check, state, text = row
    case(monkeypatch, tmp_path)
    lines = [str(finding) for finding in findings_of(check)]
    assert [line for line in lines if line.startswith(state) and re.search(text, line)], lines
