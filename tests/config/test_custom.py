"""Errors of runs with custom parts: short, with the user's own lines and the way to check.py."""

import json
from pathlib import Path

import pytest
from commands import call
from helpers import TINY_STEPS

import dqn
from dqn.config.build import Runner

SHORT = [word for word in TINY_STEPS if not word.startswith("network")]


@pytest.fixture(autouse=True)
def run_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def module(kind: str) -> list[str]:
    return ["network/torso=module", f"network.torso.module={{_target_: modules.Broken, kind: {kind}}}"]


@pytest.mark.parametrize(
    ("overrides", "cause", "line"),
    [
        (module("init"), "ValueError: kind should be another", "raise ValueError("),
        (module("input"), "RuntimeError: mat1 and mat2 shapes cannot be multiplied", "return self.layer(x)"),
        (["agent.backup._target_=faults.ColumnOfValues"], "ValueError: the backup returned values", None),
        (["agent.backup._target_=faults.Raising"], "KeyError: 'mine'", 'return batch._asdict()["mine"]'),
    ],
    ids=["init", "forward", "shape", "call"],
)
def test_a_custom_part_that_fails(overrides, cause, line):
    result = call("train", *SHORT, *overrides, "hydra.run.dir=run")
    target = overrides[-1].split("_target_: ")[-1].split("_target_=")[-1].partition(",")[0]
    assert result.code == 1
    assert "Traceback" not in result.text
    found = result.text[result.text.index(cause) :].splitlines()
    assert f"={target}; examine it with " in found[-1]
    assert "check" in found[-1]
    assert (line is None and len(found) == 2) or any(line in one for one in found), result.text
    assert cause in json.loads(Path("run/status.json").read_text())["error"]


def test_the_whole_traceback_is_there_if_it_is_wanted(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(dqn.UserError) as error:
        call("train", *SHORT, *module("init"), "hydra.run.dir=run")
    assert "modules.py" in str(error.value)
    assert "kind should be another" in str(error.value.__cause__)


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def run(runner):
        raise RuntimeError("a fault")

    monkeypatch.setattr(Runner, "run", run)
    with pytest.raises(RuntimeError, match="a fault"):
        dqn.train([*SHORT, "hydra.run.dir=run"])
