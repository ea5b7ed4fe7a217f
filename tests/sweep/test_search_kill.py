"""Killed searches and pruned jobs: no trial is lost or repeated."""

import signal
from pathlib import Path

import pytest
from commands import call
from kills import LONG, MIDDLE, TINY, has_checkpoint, sweep
from processes import assert_ended, children, wait_until
from searches import RANGE, record

from dqn.storage.folder import RunFolder

pytestmark = [
    pytest.mark.process,
    pytest.mark.usefixtures("interruptible"),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the jobs in /proc"),
]

OVERRIDES = ["hydra/sweeper=optuna", "hydra/sweeper/sampler=random", "hydra.sweeper.report=false", RANGE]


def runs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_and_continued(tmp_path):
    """SIGKILL, then Ctrl-C, each while a trial runs: the result equals that of an undisturbed search."""
    overrides = [*OVERRIDES, *MIDDLE, "hydra.sweeper.n_trials=3", "hydra.sweeper.fresh_seeds=0"]
    with sweep(tmp_path / "whole", *overrides) as process:
        process.wait_for("^best of 3 trials")
        assert process.finish() == 0, process.text
    folder = tmp_path / "killed"
    kills = (("3 of 3", signal.SIGKILL, -signal.SIGKILL), (r"1 of \d", signal.SIGINT, 130))
    for start, number, code in kills:
        with sweep(folder, *overrides) as process:
            path = folder / process.wait_for(f"^started   {start}: ").split()[4]
            wait_until(lambda path=path: has_checkpoint(path))
            jobs = children(process.popen.pid)
            process.signal(number)
            assert process.finish() == code
        assert_ended(jobs)
        assert "Traceback" not in process.text
    assert "interrupted: " in process.text
    assert "run the same command to continue: " in process.text
    with sweep(folder, *overrides) as process:
        process.wait_for("^best of 3 trials")
        assert process.finish() == 0, process.text

    assert record(folder) == record(tmp_path / "whole")
    assert [path.name for path in runs(folder)] == [path.name for path in runs(tmp_path / "whole")]
    for path in runs(folder):
        assert (path / "log.txt").read_text().count("finished: mean") == 1
        assert RunFolder(path).status()["state"] == "finished"


def test_a_pruned_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["-m", "hydra.sweep.dir=runs", *OVERRIDES, *TINY, *LONG, "hydra.sweeper.n_trials=1"]
    overrides += [
        "runner.total_steps=80000",
        "hydra/sweeper/pruner=none",
        "hydra.sweeper.pruner._target_=parts.Harsh",
    ]
    result = call("train", *overrides)
    assert result.code == 1
    assert "1 pruned" in result.text
    (path,) = runs(tmp_path / "runs")
    status = RunFolder(path).status()
    assert status["state"] == "interrupted"
    assert status["error"].startswith("pruned: ")
    assert status["progress"]["tick"] < 80000
    assert "Traceback" not in (path / "log.txt").read_text()
