"""Sweeps by submitit, whose local executor stands in for Slurm."""

import re
import sys

import pytest
from commands import call
from helpers import TINY_STEPS
from kills import WITH_TESTS

from dqn.config.launch import status_of
from dqn.storage.folder import RunFolder
from dqn.sweep.job import JobSpec
from dqn.sweep.slurm import SlurmTask

SWEEP = ["-m", "hydra.sweep.dir=runs", "hydra.sweeper.report=false", "hydra/launcher=slurm", *TINY_STEPS]
LOCAL = "hydra.launcher.executor=local"


@pytest.mark.process
def test_local_executor(tmp_path, monkeypatch):
    """A killed job affects no other; the same command skips the finished one."""
    submitit = pytest.importorskip("submitit", reason="needs the extra `slurm`")
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 1)  # else 15 seconds for a killed job's result
    monkeypatch.setenv("PYTHONPATH", WITH_TESTS)
    monkeypatch.chdir(tmp_path)
    overrides = [*SWEEP, LOCAL, "env.module=parts", "env.id=CartPole-v1,Deadly-v0"]
    result = call("train", *overrides)
    assert result.code == 1
    assert re.search(r"^finished  id=CartPole-v1_\w+: ", result.text, re.MULTILINE)
    assert re.search(r"^failed    id=Deadly-v0_\w+: .*; log: runs/id=Deadly", result.text, re.MULTILINE)
    assert result.text.rstrip().endswith("1 finished, 1 failed")
    (log,) = (tmp_path / "runs").glob("id=CartPole*/log.txt")
    assert "finished: mean" in log.read_text()
    again = call("train", *SWEEP, LOCAL, "env.module=parts", "env.id=CartPole-v1")
    assert again.code == 0
    assert "Traceback" not in result.text + again.text
    assert again.text.rstrip().endswith("1 skipped")


def test_the_time_limit_of_a_job(tmp_path):
    """Submitit ends the job by SystemExit and submits the result of `checkpoint`."""
    pytest.importorskip("submitit", reason="needs the extra `slurm`")
    folder = RunFolder(tmp_path)
    folder.start_work()
    with pytest.raises(SystemExit), status_of(folder, {}):
        sys.exit(122)
    assert folder.stored_status()["state"] == "interrupted"
    spec = JobSpec([], tmp_path, tmp_path, {}, [], [])
    delayed = SlurmTask().checkpoint(spec, {"A": "b"})
    assert isinstance(delayed.function, SlurmTask)
    assert delayed.args == (spec, {"A": "b"})


def test_slurm_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    result = call("train", *SWEEP, "seed=0,1")
    assert result.code == 1
    assert "2 failed" in result.text
    assert "Traceback" not in result.text


@pytest.mark.parametrize("override", ["hydra.launcher.executor=pbs", "hydra.launcher.mem_gb=0"])
def test_mistakes(override, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("train", *SWEEP, override)
    assert result.code == 1
    assert f"{override}: should be" in result.text
