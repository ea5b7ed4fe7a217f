"""Sweeps whose jobs, and which themselves, are killed: nothing is lost, nothing is run twice."""

import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from commands import tree
from records import same
from test_kill import SCRIPTS, SEED, Process, _interruptible, alive, children, end_of, started, undisturbed

from dqn.storage.folder import RunFolder

__all__ = ["_interruptible"]

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the jobs by /proc"),
]

TINY = [
    *("runner=steps", "runner.total_steps=800", "runner.iteration_length=100", "runner.learning_starts=50"),
    *("runner.batch_size=16", "runner.eval_period=4", "runner.eval_episodes=2", "memory.capacity=1000"),
    "network.torso.hidden_sizes=[16]",
]
MIDDLE = ["runner.total_steps=2400"]
LONG = ["runner.total_steps=8000", "runner.iteration_length=200"]


@contextmanager
def sweep(folder: Path, *words: str) -> Iterator[Process]:
    command = [SCRIPTS / "train.py", "-m", f"hydra.sweep.dir={folder}", *TINY, *words]
    with started(*command) as process:
        yield process


def run_of(folder: Path, start: str) -> Path:
    """Return the run folder whose name begins so."""
    (path,) = folder.glob(f"{start}_*")
    return path


def state(path: Path) -> str:
    return RunFolder(path).status().get("state", "")


def wait_until(condition, seconds: float = 60) -> None:
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.02)


def has_checkpoint(path: Path) -> bool:
    return (path / "checkpoint" / "manifest.json").exists()


def assert_ended(jobs: list[int]) -> None:
    """Assert that processes end, soon."""
    assert jobs
    wait_until(lambda: not any(map(alive, jobs)), 15)


def test_killed_and_continued(tmp_path):
    """A job by SIGKILL, then the sweep by Ctrl-C, then the sweep by SIGKILL; a bad value all the while."""
    folder = tmp_path / "sweep"
    words = [*LONG, "seed=0,1", "hydra.sweeper.report=false"]
    expected = [undisturbed(tmp_path / f"{seed}", [*TINY, *LONG, f"seed={seed}"]) for seed in (0, 1)]
    with sweep(folder, *words, "agent.lr=5e-4,-1") as process:
        process.wait_for("^started   2 of 2: seed=1,lr=0.0005_")
        first, second = run_of(folder, "seed=0,lr=0.0005"), run_of(folder, "seed=1,lr=0.0005")
        wait_until(lambda: has_checkpoint(second))
        (victim,) = [pid for pid in children(process.popen.pid) if str(second) in open_files(pid)]
        os.kill(victim, signal.SIGKILL)
        assert process.finish() == 1
    told = process.text
    assert "failed    seed=0,lr=-1: 1 mistake in the configuration: agent.lr=-1: should be" in told
    assert f"failed    {second.name}: killed by SIGKILL; log: {second}/log.txt" in told
    assert told.rstrip().endswith("1 finished, 3 failed")
    assert (state(first), state(second)) == ("finished", "interrupted")
    assert "step  200 of" in (second / "log.txt").read_text()
    before = tree(first)

    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        with sweep(folder, *words) as process:
            process.wait_for(f"^skipped   {re.escape(first.name)}: has finished before")
            process.wait_for(rf"^started   1 of 1: {re.escape(second.name)} \(it goes on\)")
            jobs = children(process.popen.pid)
            wait_until(lambda: state(second) == "running")
            process.signal(number)
            assert process.finish() == code
        assert_ended(jobs)
        assert state(second) == "interrupted"
        assert not RunFolder(second).in_use()
    assert "Traceback" not in (second / "log.txt").read_text() + process.text

    with sweep(folder, *words) as process:
        assert process.finish() == 0, process.text
    assert process.text.rstrip().endswith("1 finished, 1 skipped")
    assert tree(first) == before
    for run, end in zip((first, second), expected, strict=True):
        same(end_of(run), end)
    assert json.loads((second / "status.json").read_text())["commands"][-1].count(" -m ") == 1


def open_files(pid: int) -> str:
    """Return the paths of what a process has open, or has as its output."""
    paths = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            paths.append(os.readlink(link))
        except OSError:
            continue
    return " ".join(paths)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_jobs_killed_three_times(tmp_path):
    """A job and the sweep are killed at random moments, three times each; a sample is as if nobody had."""
    print(f"DQN_TEST_SEED={SEED}")
    moments = random.Random(f"{SEED} sweep")
    folder = tmp_path / "sweep"
    words = [*MIDDLE, "seed=range(0,12)", "agent.lr=1e-3,5e-4", "hydra.sweeper.report=false"]
    done: dict[str, dict[str, str]] = {}
    starts: list[str] = []
    for i in range(3):
        with sweep(folder, *words) as process:
            for _ in range(moments.randint(2, 6)):
                process.wait_for("^started")
            time.sleep(moments.uniform(0, 6))
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(moments.choice(children(process.popen.pid)), signal.SIGKILL)
            time.sleep(moments.uniform(0, 1))
            process.signal(signal.SIGSTOP)
            jobs = children(process.popen.pid)
            process.signal(signal.SIGKILL)
            process.finish()
        assert_ended(jobs)
        starts += re.findall(r"^started   \d+ of \d+: (\S+)", process.text, re.MULTILINE)
        assert_kept(folder, done, process.text if i else "")
        done = {path.name: tree(path) for path in folder.iterdir() if state(path) == "finished"}
        print(f"{len(done)} jobs finished after kill {i + 1}")
    assert 0 < len(done) < 24

    with sweep(folder, *words) as process:
        assert process.finish() == 0, process.text
    assert_kept(folder, done, process.text)
    assert process.text.rstrip().endswith(f"{24 - len(done)} finished, {len(done)} skipped")
    runs = sorted(folder.iterdir())
    assert len(runs) == 24
    assert {state(path) for path in runs} == {"finished"}
    killed = sorted(
        {name for name in starts if name not in done} | {name for name in starts if starts.count(name) > 1}
    )
    for name in [*killed[:4], *sorted(done)[:2]]:
        seed, lr = re.fullmatch(r"seed=(\d+),lr=([\d.]+)_\w+", name).groups()
        expected = undisturbed(tmp_path / name, [*TINY, *MIDDLE, f"seed={seed}", f"agent.lr={lr}"])
        same(end_of(folder / name), expected)
    for path in runs:
        assert (path / "log.txt").read_text().count("finished: interquartile mean") <= 1


def assert_kept(folder: Path, done: dict[str, dict[str, str]], told: str) -> None:
    """Assert that what had finished was skipped and not touched."""
    for name, content in done.items():
        assert f"skipped   {name}: " in told
        assert tree(folder / name) == content
