"""Killed jobs and killed sweeps: nothing is lost, and no finished job is run twice."""

import json
import os
import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from commands import tree
from kills import (
    MIDDLE,
    SLOW,
    TINY,
    WITH_TESTS,
    end_of,
    has_checkpoint,
    run_of,
    state,
    stopped_in_order,
    sweep,
    undisturbed,
)
from processes import SEED, assert_ended, children, open_files, wait_until
from records import same

pytestmark = [
    pytest.mark.process,
    pytest.mark.usefixtures("interruptible"),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the jobs in /proc"),
]


def test_killed_and_continued(tmp_path, monkeypatch):
    """SIGKILL for a job, then Ctrl-C and SIGKILL for the sweep; a job with an invalid value fails alone."""
    folder, slow = tmp_path / "sweep", tmp_path / "slow"
    monkeypatch.setenv("DQN_TEST_SLOW", str(slow))
    monkeypatch.setenv("PYTHONPATH", WITH_TESTS)
    overrides = [*SLOW, "seed=0,1", "hydra.sweeper.report=false"]
    expected = [undisturbed(tmp_path / f"{seed}", [*TINY, *SLOW, f"seed={seed}"]) for seed in (0, 1)]
    slow.touch()
    with sweep(folder, *overrides, "agent.lr=5e-4,-1") as process:
        process.wait_for("^started   2 of 2: seed=1,lr=0.0005_")
        first, second = run_of(folder, "seed=0,lr=0.0005"), run_of(folder, "seed=1,lr=0.0005")
        wait_until(lambda: has_checkpoint(second))
        (victim,) = [pid for pid in children(process.popen.pid) if str(second) in open_files(pid)]
        os.kill(victim, signal.SIGKILL)
        slow.unlink()
        assert process.finish() == 1
    text = process.text
    assert "failed    seed=0,lr=-1: 1 mistake in the configuration: agent.lr=-1: should be" in text
    assert f"failed    {second.name}: killed by SIGKILL; log: {second}/log.txt" in text
    assert text.rstrip().endswith("1 finished, 3 failed")
    assert (state(first), state(second)) == ("finished", "interrupted")
    assert "step 100 of" in (second / "log.txt").read_text()
    before = tree(first)
    slow.touch()

    for i, (number, code) in enumerate(((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)), 1):
        with sweep(folder, *overrides) as process:
            process.wait_for(f"^skipped   {re.escape(first.name)}: already finished")
            process.wait_for(rf"^started   1 of 1: {re.escape(second.name)} \(resumed\)")
            jobs = children(process.popen.pid)
            wait_until(lambda i=i: (second / "log.txt").read_text().count("resumed after step ") == i)
            process.signal(number)
            assert process.finish() == code
        assert_ended(jobs)
        assert stopped_in_order(second, i), (second / "log.txt").read_text()
        assert state(second) == "interrupted"
    assert "Traceback" not in (second / "log.txt").read_text() + process.text

    slow.unlink()
    with sweep(folder, *overrides) as process:
        assert process.finish() == 0, process.text
    assert process.text.rstrip().endswith("1 finished, 1 skipped")
    assert tree(first) == before
    for run, end in zip((first, second), expected, strict=True):
        same(end_of(run), end)
    assert json.loads((second / "status.json").read_text())["commands"][-1].count(" -m ") == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_jobs_killed_three_times(tmp_path):
    """A job and the sweep are killed three times at random; sampled jobs equal undisturbed runs."""
    print(f"DQN_TEST_SEED={SEED}")
    moments = random.Random(f"{SEED} sweep")
    folder = tmp_path / "sweep"
    overrides = [*MIDDLE, "seed=range(0,12)", "agent.lr=1e-3,5e-4", "hydra.sweeper.report=false"]
    done: dict[str, dict[str, str]] = {}
    starts: list[str] = []
    for i in range(3):
        with sweep(folder, *overrides) as process:
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

    with sweep(folder, *overrides) as process:
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
        assert (path / "log.txt").read_text().count("finished: mean") <= 1


def assert_kept(folder: Path, done: dict[str, dict[str, str]], text: str) -> None:
    """Assert that finished jobs were skipped and their files not changed."""
    for name, content in done.items():
        assert f"skipped   {name}: " in text
        assert tree(folder / name) == content
