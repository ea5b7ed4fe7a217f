"""Printed commands have the form in which the user started the program."""

import subprocess
import sys

import pytest
from commands import SCRIPTS, TINY, call
from hydra._internal.config_loader_impl import ConfigLoaderImpl

import dqn
from dqn.config import validate
from dqn.config.commands import beside_python, command

INSTALLED = """
import sys
from dqn.cli import main as cli
sys.argv[0] = "/somewhere/bin/dqn-train"
cli.train()
"""


@pytest.fixture
def bin_folder(tmp_path):
    """Return a folder with the installed commands."""
    folder = tmp_path / "my bin"
    folder.mkdir()
    for name in ("dqn-train", "dqn-evaluate"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def test_a_script_names_scripts(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(SCRIPTS / "train.py")])
    assert command("evaluate") == f"python {SCRIPTS / 'evaluate.py'}"
    monkeypatch.chdir(SCRIPTS.parent)
    monkeypatch.setattr(sys, "argv", ["scripts/evaluate.py"])
    assert command("train") == "python scripts/train.py"


def test_a_python_that_is_not_activated(monkeypatch, tmp_path):
    """Started as `.venv/bin/python scripts/train.py`, without or with another python on the PATH."""
    for folder in (tmp_path / ".venv" / "bin", tmp_path / "other"):
        folder.mkdir(parents=True)
        (folder / "python").write_text("#!/bin/sh\n")
        (folder / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.setattr(sys, "argv", [str(SCRIPTS / "train.py")])
    for path in ("", str(tmp_path / "other")):
        monkeypatch.setenv("PATH", path)
        assert command("train").split()[0] == str(tmp_path / ".venv" / "bin" / "python")
        assert beside_python("tensorboard") == "tensorboard"  # there is none
    monkeypatch.chdir(tmp_path)
    assert command("train").split()[0] == ".venv/bin/python"
    monkeypatch.setenv("PATH", str(tmp_path / ".venv" / "bin"))
    assert command("train").split()[0] == "python"


def test_an_installed_command_names_those(monkeypatch, bin_folder):
    monkeypatch.setattr(sys, "argv", [str(bin_folder / "dqn-train")])
    monkeypatch.setenv("PATH", str(bin_folder))
    assert command("evaluate") == "dqn-evaluate"
    monkeypatch.setenv("PATH", "")
    assert command("evaluate") == f"'{bin_folder / 'dqn-evaluate'}'"


def test_any_other_program_names_the_installed_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "mine.py")])
    assert command("resume") == "dqn-resume"


@pytest.mark.parametrize("name", ["resume", "evaluate", "export"])
def test_usage(name):
    assert f"scripts/{name}.py [-h]" in call(name, "--help").text
    wrong = call(name)
    assert wrong.code == 2
    assert f"scripts/{name}.py: error:" in wrong.text
    assert "KEY=VALUE" not in wrong.text.rpartition("required: run")[2]


@pytest.mark.process
def test_help_of_an_installed_command():
    overrides = [sys.executable, "-c", INSTALLED, "--help"]
    text = subprocess.run(overrides, check=True, capture_output=True, text=True).stdout
    assert "usage: dqn-train [GROUP=OPTION" in text
    assert "\n  dqn-train agent=double agent.lr=1e-3 num_seeds=8\n" in text
    assert 'eval "$(dqn-train -sc install=bash)"' in text
    assert "train.py" not in text


def test_a_run_calls_hydras_callbacks_and_logs_as_configured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = [*TINY, "seed=3", "hydra.run.dir=runs/${hydra:job.name}_${seed}", "hydra.job.name=mine"]
    overrides += [
        "+hydra.callbacks.mine._target_=parts.Recorder",
        "hydra.job_logging.formatters.simple.format='> %(message)s'",
    ]
    result = call("train", *overrides)
    assert result.code == 0, result.text
    lines = result.text.splitlines()
    assert lines[0] == "on_run_start 3"
    assert any(line.startswith("on_job_end COMPLETED ['runner.total_episodes=2'") for line in lines)
    assert "on_run_end mine" in lines
    assert f"> run folder: {tmp_path / 'runs' / 'mine_3'}" in lines


def test_a_run_is_composed_and_checked_once(tmp_path, monkeypatch):
    calls = []
    for owner, name in ((ConfigLoaderImpl, "load_configuration"), (validate, "check")):
        original = getattr(owner, name)
        count = lambda *a, original=original, name=name, **k: calls.append(name) or original(*a, **k)  # noqa: E731
        monkeypatch.setattr(owner, name, count)
    assert call("train", *TINY, f"hydra.run.dir={tmp_path / 'script'}").code == 0
    assert sorted(calls) == ["check", "load_configuration"]
    calls.clear()
    dqn.train([*TINY, f"hydra.run.dir={tmp_path / 'library'}"])
    assert sorted(calls) == ["check", "load_configuration"]
