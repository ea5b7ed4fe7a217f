"""Killed and interrupted processes are resumed: the run equals the undisturbed one."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from commands import SCRIPTS, call
from helpers import TESTS, train_run
from kills import SLOW, WITH_TESTS, End, assert_no_stray_files, end_of, undisturbed
from processes import SEED, alive, children, started, wait_until
from records import same, stored

from dqn.cli import main as cli
from dqn.errors import UserError
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import RunFolder

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("interruptible")]

COMMON = [
    *("network.torso.hidden_sizes=[16]", "runner.batch_size=16", "runner.learning_starts=50"),
    *("runner.eval_period=3", "runner.eval_episodes=2", "memory.capacity=1000", "agent.max_grad_norm=1"),
]
STEPS = [
    *("runner=steps", "runner.total_steps=1600", "runner.iteration_length=160", "runner.target_period=100"),
    *("schedule.duration=1000", *COMMON),
]
EPISODES = [
    *("runner=episodes", "runner.total_episodes=100", "runner.iteration_length=10", "schedule.start=0.5"),
    *("runner.updates_per_train=3", *COMMON),
]
CONFIGURATIONS = {
    "steps": [*STEPS, "num_seeds=1", "env.num_envs=2", "memory.reader.n_step=3"],
    "steps of three seeds": [*STEPS, "num_seeds=3", "env.num_envs=2", "agent=double"],
    "episodes": [*EPISODES, "num_seeds=1", "memory.reader.n_step=3", "agent=double"],
    "episodes of three seeds": [*EPISODES, "num_seeds=3", "memory.reader.n_step=3"],
}


TRUST = ["--trust", "parts"]
"""For a run whose environment is in parts.py."""


def train(folder: Path, overrides: list[str]) -> list[object]:
    return [SCRIPTS / "train.py", f"hydra.run.dir={folder}", *overrides]


def resume(folder: Path) -> list[object]:
    return [SCRIPTS / "resume.py", folder]


def finish(folder: Path, *words: str) -> End:
    """Resume a run to its end, in this process, and return its results."""
    result = call("resume", folder, *words)
    assert result.code == 0, result.text
    return end_of(folder)


def check_torn(folder: Path) -> None:
    """Assert that the status and the metrics are valid right after a kill."""
    assert json.loads((folder / "status.json").read_text())["state"] == "running"
    assert RunFolder(folder).status()["state"] == "interrupted"
    for path in folder.glob("seed=*/metrics.jsonl"):
        *lines, _tail = path.read_text().split("\n")
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(set(steps))


def iterations(folder: Path) -> int:
    """Return the number of iterations in the checkpoint."""
    checkpoint = Checkpoint(folder)
    return checkpoint.iteration() if checkpoint.exists() else 0


def kill_at_random(folder: Path, overrides: list[str], moments: random.Random) -> None:
    """Start a run and kill it from outside, early enough to leave iterations for the other kills."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        with started(*train(folder, overrides)) as process:
            line = process.wait_for(r"^(step|episode) ")
            delay = moments.uniform(0, 0.4)
            print(f"SIGKILL {delay:.3f} s after: {line.strip()}")
            time.sleep(delay)
            process.signal(signal.SIGKILL)
            code = process.finish()
        if code == -signal.SIGKILL and iterations(folder) <= 8:
            return
    raise AssertionError("the runs are too short to be killed")


def kill_inside(place: str, number: int, *command: object) -> str:
    """Run a command that kills itself and return its output."""
    with started(TESTS / "kill_itself.py", place, number, *command) as process:
        assert process.finish() == -signal.SIGKILL, process.text
    print(process.text.splitlines()[-1])
    assert "killed inside" in process.text
    return process.text


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("steps", marks=pytest.mark.slow),
        "steps of three seeds",
        pytest.param("episodes", marks=pytest.mark.slow),
        pytest.param("episodes of three seeds", marks=pytest.mark.slow),
    ],
)
def test_killed(tmp_path, name):
    print(f"DQN_TEST_SEED={SEED}")
    moments = random.Random(f"{SEED} {name}")
    overrides, folder = CONFIGURATIONS[name], tmp_path / "killed"
    expected = undisturbed(tmp_path / "undisturbed", overrides)

    kill_at_random(folder, overrides, moments)
    check_torn(folder)

    updates = stored(folder)["learner"]["counters"]["updates"] if iterations(folder) else 0
    left = expected.checkpoint["learner"]["counters"]["updates"] - updates
    kill_inside("update", moments.randint(1, left // 2), *resume(folder))
    check_torn(folder)

    left = 10 - iterations(folder)
    text = kill_inside("checkpoint", moments.randint(1, 4 * left), *train(folder, overrides))
    assert "resumed after" in text or left == 10
    check_torn(folder)

    same(finish(folder), expected)


def test_asked_to_stop(tmp_path, monkeypatch):
    """SIGTERM, then SIGINT; meanwhile no other process may continue the run."""
    slow, folder = tmp_path / "slow", tmp_path / "stopped"
    monkeypatch.setenv("DQN_TEST_SLOW", str(slow))
    monkeypatch.setenv("PYTHONPATH", WITH_TESTS)
    overrides = [*CONFIGURATIONS["steps"], *SLOW, "runner.iteration_length=100"]
    expected = undisturbed(tmp_path / "undisturbed", overrides)
    slow.touch()
    commands = (train(folder, overrides), [*resume(folder), *TRUST])
    for number, command in zip((signal.SIGTERM, signal.SIGINT), commands, strict=True):
        before = iterations(folder)
        with started(*command) as process:
            process.wait_for("^step ")
            wait_until(lambda before=before: iterations(folder) > before)  # which follows the line
            process.signal(signal.SIGSTOP)  # so that it lives on while we look
            os.waitid(os.P_PID, process.popen.pid, os.WSTOPPED)
            refused_while_in_use(folder, overrides)
            process.signal(number)
            process.signal(signal.SIGCONT)
            assert process.finish() == 130
        assert "Traceback" not in process.text
        assert f"scripts/resume.py {folder}" in process.text
        status = json.loads((folder / "status.json").read_text())
        assert status["state"] == "interrupted"
        assert before < iterations(folder) < 16
    slow.unlink()
    same(finish(folder, *TRUST), expected)


def refused_while_in_use(folder: Path, overrides: list[str]) -> None:
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert RunFolder(folder).status()["state"] == "running"
    with pytest.raises(UserError, match=f"{folder}: in use"):
        train_run(folder, overrides)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", ["resume.py", str(folder), *TRUST])
        with pytest.raises(SystemExit, match=f"{folder}: in use"):
            cli.resume()
    assert files == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the children by /proc")
def test_environments_in_processes_end_with_the_run(tmp_path):
    overrides, folder = [*CONFIGURATIONS["steps"], "runner.eval_episodes=0"], tmp_path / "killed"
    expected = undisturbed(tmp_path / "undisturbed", [*overrides, "env.vectorization=sync"])
    workers: list[int] = []

    def are_both_there() -> bool:
        """Return whether no iteration has just ended, after which there are none."""
        workers[:] = children(process.popen.pid)
        return len(workers) == 2

    with started(*train(folder, [*overrides, "env.vectorization=async"])) as process:
        process.wait_for("^step ")
        wait_until(are_both_there)
        process.signal(signal.SIGKILL)
        assert process.finish() == -signal.SIGKILL
    wait_until(lambda: not any(map(alive, workers)) and not RunFolder(folder).in_use())
    check_torn(folder)
    same(finish(folder), expected)


@pytest.fixture
def small_disk():
    """Return a folder on a separate file system of 260 kB; None if nothing may be mounted."""
    folder = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", "size=260k", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and not subprocess.run(mount, capture_output=True, check=False).returncode
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_disk_that_is_full(tmp_path, small_disk):
    overrides, folder = CONFIGURATIONS["steps of three seeds"], (small_disk or tmp_path) / "run"
    expected = undisturbed(tmp_path / "undisturbed", overrides)
    with started(*train(folder, overrides)) as process:
        if small_disk is None:  # files that may not grow do as well
            resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (40_000, 40_000))
        assert process.finish() == 1
    assert "Traceback" not in process.text
    status = RunFolder(folder).status()
    assert status["state"] == "failed"
    for text in (process.text, status["error"]):
        assert f"{folder}/checkpoint: the checkpoint could not be written" in text
        assert ("No space left on device" if small_disk else "File too large") in text
    assert 0 < iterations(folder) < 10
    assert_no_stray_files(folder)
    if small_disk is not None:
        subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
    same(finish(folder), expected)
