"""Every command of README and docs/ is composed or parsed."""

import argparse
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
from commands import call
from helpers import ROOT, USER
from hydra._internal.utils import get_args_parser
from pages import Command, commands, commands_of, read

from dqn.config.compose import compose

FLAGS = [["--help"], ["--cfg", "job"]]
OTHERS = (
    "tensorboard --logdir ",
    "optuna-dashboard sqlite:///",
    "export PYTHONPATH=",
    "python3 -m venv .venv",
)
COMPOSED = commands_of("scripts/train.py", "scripts/check.py")
ON_RUNS = commands_of("scripts/evaluate.py", "scripts/resume.py", "scripts/export.py")
PARSED = commands_of(
    *("scripts/report.py", "scripts/reproduce.py", "scripts/benchmark.py", "docs/_tools/screenshot.py"),
    *("scripts/doctor.py", "scripts/taxi.py"),
)


class Parsed(Exception):
    """The arguments of a script were accepted."""


@pytest.fixture(autouse=True)
def users_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(USER)
    (tmp_path / "my_conf").symlink_to(USER / "my_conf")


def line_of(command: Command) -> str:
    return command.line


@pytest.mark.parametrize("command", COMPOSED, ids=line_of)
def test_composed(command):
    words = list(command.words)
    for flags in FLAGS:
        if words[-len(flags) :] == flags:
            words = words[: -len(flags)]
    arguments = get_args_parser().parse_args(words)
    compose(arguments.overrides, multirun=arguments.multirun, config_dir=arguments.config_dir)


@pytest.mark.parametrize("command", ON_RUNS, ids=line_of)
def test_options_of_runs(command):
    """The options are right: only the run folder is missing."""
    result = call(Path(command.script).stem, *command.words)
    assert "not a run folder" in result.text, result.text
    for key in re.findall(r"runner\.\w+(?==)", command.line):
        assert key in ("runner.total_steps", "runner.total_episodes")


@pytest.mark.parametrize("command", PARSED, ids=line_of)
def test_parsed(command, monkeypatch):
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, *args):
        parse_args(parser, *args)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [command.script, *command.words])
    monkeypatch.syspath_prepend(ROOT / "scripts")
    spec = importlib.util.spec_from_file_location(f"page_{Path(command.script).stem}", ROOT / command.script)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main = getattr(module, Path(command.script).stem, None) or module.main
    with pytest.raises(Parsed):
        main()


def test_other_commands():
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    targets = re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE)
    known = {command.line for command in (*COMPOSED, *ON_RUNS, *PARSED)}
    for command in commands():
        line = command.line.split(" && ")[0]
        if line.startswith("pip "):
            assert set(",".join(re.findall(r"\[([\w,]+)\]", line)).split(",")) - {""} <= extras.keys(), (
                command
            )
        elif line.startswith("make "):
            assert line.removeprefix("make ") in targets, command
        else:
            assert command.line in known or line.startswith(OTHERS) or "scripts/benchmark.py" in line, command
