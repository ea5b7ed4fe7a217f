"""Sweeps by Ray: on a local cluster, and on two nodes that the test starts on loopback addresses."""

import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from commands import call
from helpers import TINY_STEPS
from kills import (
    LONG,
    SLOW,
    TINY,
    WITH_TESTS,
    end_of,
    has_checkpoint,
    run_of,
    state,
    sweep,
    undisturbed,
)
from processes import alive, command_of, open_files, started, wait_until
from records import same

from dqn.sweep import ray as engine
from dqn.sweep.job import JobResult, JobSpec

pytest.importorskip("ray", reason="needs the extra `ray`")

SWEEP = ["-m", "hydra.sweep.dir=runs", "hydra.sweeper.report=false", "hydra/launcher=ray", *TINY_STEPS]
OVERRIDES = ["hydra.sweeper.report=false", "hydra/launcher=ray", "seed=0,1"]
MARK = "DQN_TEST_RAY"
RAYS_OWN = re.compile(r"/ray/(core/src|dashboard|autoscaler|_private)/|^ray::(IDLE|\w+Agent)\b")
"""In the commands, or the titles, of Ray's processes that run none of a sweep's code."""
HAS_PROC = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")


@pytest.fixture
def ray(monkeypatch, tmp_path, interruptible) -> Iterator[None]:
    """Give Ray a short folder and a token; assert that no process is left at the end."""
    mark = uuid4().hex
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        variables = {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex}
        variables["RAY_gcs_rpc_server_reconnect_timeout_s"] = (
            "5"  # of those that a killed head leaves; else 60
        )
        for name, value in (variables | {MARK: mark, "PYTHONPATH": WITH_TESTS}).items():
            monkeypatch.setenv(name, value)
        yield
        wait_until(lambda: not ours(mark), lambda: ours(mark))
        wait_until(lambda: end_rays_own(mark), lambda: [*map(command_of, left(mark))])


def left(mark: str) -> list[int]:
    """Return the processes that a test started, directly or not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:  # ended just now, or of another user
            continue
        if f"{MARK}={mark}".encode() in variables:
            found.append(int(path.parent.name))
    return found


def ours(mark: str) -> list[str]:
    """Return the commands of the processes of a sweep and its jobs, which must end by themselves."""
    return [command for command in map(command_of, left(mark)) if not RAYS_OWN.search(command)]


def end_rays_own(mark: str) -> bool:
    """Kill what Ray has left, such as the agents of a killed head, which look for it for a minute.

    Returns:
        Whether none was left.
    """
    pids = left(mark)
    for pid in pids:
        if RAYS_OWN.search(command_of(pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return not pids


def job_of(folder: Path) -> int:
    """Return the process that trains a run."""
    (pid,) = [pid for pid in left(os.environ[MARK]) if f"{folder}/log.txt" in open_files(pid)]
    return pid


@HAS_PROC
@pytest.mark.process
def test_killed_and_continued(ray, tmp_path, monkeypatch):
    """Jobs raise, then a job and the sweep are killed by SIGKILL; continued, they equal undisturbed runs."""
    slow = tmp_path / "slow"
    monkeypatch.setenv("DQN_TEST_SLOW", str(slow))
    one = ["network.head.huber_delta=null", "env.reward_scale=1.0"]
    expected = [undisturbed(tmp_path / f"{i}", [*TINY, *one, *SLOW, f"seed={i}"]) for i in (0, 1)]
    slow.touch()
    both = [
        *one,
        "env=document",
        "env.module=parts",
        "env.id=Slow-v0,Explosive-v0",
        "hydra.launcher.num_cpus=0.5",
    ]
    with sweep(Path("runs"), *OVERRIDES, *both) as process:
        process.wait_for("^started   4 of 4")
        wait_until(lambda: sum(map(has_checkpoint, Path("runs").glob("*id=Slow*"))) == 2)
        first, second = (run_of(tmp_path / "runs", f"seed={i},id=Slow-v0") for i in (0, 1))
        os.kill(job_of(second), signal.SIGKILL)
        for _ in range(3):
            process.wait_for("^failed ")
        assert state(first) == "running"
        process.signal(signal.SIGKILL)
        process.finish()
    raised = re.findall(r"^failed    seed=.,id=Explosive.* in update 1;", process.text, re.MULTILINE)
    assert len(raised) == 2
    assert f"failed    {second.name}: killed by SIGKILL; log: runs/{second.name}/log.txt" in process.text
    wait_until(lambda: state(first) == "interrupted")  # no process holds its lock
    slow.unlink()

    with sweep(Path("runs"), *OVERRIDES, *one, *SLOW) as process:
        assert process.finish() == 0, process.text
        assert process.text.count("(resumed)") == 2
    assert process.text.rstrip().endswith("2 finished")
    for run, end in zip((first, second), expected, strict=True):
        same(end_of(run), end)


@contextmanager
def node(address: str, *options: str) -> Iterator[None]:
    """Run a node of a cluster, with one processor, outside the folder of the sweep."""
    command = ["-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", "--num-cpus=1"]
    with started(*command, f"--node-ip-address={address}", *options) as process:
        process.wait_for("Ray runtime started")
        try:
            yield
        finally:
            process.signal(signal.SIGTERM)
            process.finish()


def free_port(address: str) -> int:
    with socket.socket() as one:
        one.bind((address, 0))
        port: int = one.getsockname()[1]
        return port


@HAS_PROC
@pytest.mark.process
@pytest.mark.slow
def test_two_nodes(ray, tmp_path, monkeypatch):
    """Jobs run on both nodes; Ctrl-C stops them, and the same command resumes them."""
    head = f"127.0.0.2:{free_port('127.0.0.2')}"
    port = head.partition(":")[2]
    overrides = [*OVERRIDES, *LONG, f"hydra.launcher.address={head}"]
    with ExitStack() as nodes:
        monkeypatch.chdir("/")
        client = f"--ray-client-server-port={free_port('127.0.0.2')}"
        nodes.enter_context(
            node("127.0.0.2", "--head", f"--port={port}", "--include-dashboard=false", client)
        )
        nodes.enter_context(node("127.0.0.3", f"--address={head}"))
        monkeypatch.chdir(tmp_path)
        with sweep(Path("runs"), *overrides) as process:
            process.wait_for("^started   2 of 2")
            wait_until(lambda: len([run for run in Path("runs").glob("*") if has_checkpoint(run)]) == 2)
            runs = [run_of(tmp_path / "runs", f"seed={i}") for i in (0, 1)]
            jobs = [job_of(run) for run in runs]
            for job in jobs:
                assert b"\0CUDA_VISIBLE_DEVICES=\0" in Path(f"/proc/{job}/environ").read_bytes()
            os.killpg(process.popen.pid, signal.SIGINT)
            assert process.finish() == 130
        assert "interrupted: 2 interrupted" in process.text
        assert not any(map(alive, jobs))
        assert [state(run) for run in runs] == ["interrupted"] * 2
        with sweep(Path("runs"), *overrides) as process:
            assert process.finish() == 0, process.text
            assert process.text.count("(resumed)") == 2
    assert [state(run) for run in runs] == ["finished"] * 2
    logs = [(run / "log.txt").read_text() for run in runs]
    attempts = [re.findall(r"^[\d-]{10} [\d:]{8} (127\.0\.0\.\d): ", text, re.MULTILINE) for text in logs]
    assert [set(nodes) for nodes in zip(*attempts, strict=True)] == [{"127.0.0.2", "127.0.0.3"}] * 2


class Stubborn:
    """A process that ignores the request to stop."""

    def __init__(self, spec: JobSpec, env: dict[str, str], node: str) -> None:
        self.end: JobResult | None = None
        self.looks = iter([None, KeyboardInterrupt])
        self.asked = False

    def ended(self) -> JobResult | None:
        if next(self.looks, None) is KeyboardInterrupt:
            raise KeyboardInterrupt
        return self.end

    def ask_to_stop(self) -> None:
        self.asked = True

    def kill(self) -> None:
        assert self.asked
        self.end = JobResult(-signal.SIGKILL)


def test_a_job_that_ignores_the_request_to_stop(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "Process", Stubborn)
    monkeypatch.setattr(engine, "STOP_SECONDS", 0.2)
    spec = JobSpec([], tmp_path, tmp_path, {}, [], [])
    assert engine.run_here(spec, {}) == JobResult(-signal.SIGKILL)


def test_a_job_that_is_too_large():
    small, large = {"CPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}
    nodes = [{"Alive": True, "Resources": small}, {"Alive": False, "Resources": large}]
    assert engine.lacking(nodes, {"CPU": 2, "GPU": 0}) == ""
    message = engine.lacking(nodes, {"CPU": 1, "GPU": 0.5})
    assert message.startswith("hydra.launcher.num_cpus=1, hydra.launcher.num_gpus=0.5: should be ")
    assert message.endswith("one node has: 2 CPU, 0 GPU")


MISTAKES = {
    "hydra.launcher.num_cpus=0": "hydra.launcher.num_cpus=0: should be greater than 0",
    "hydra.launcher.num_gpus=1.5": "hydra.launcher.num_gpus=1.5: should be",
    "hydra.launcher.address=foo": "address=foo: should be local, or HOST:PORT .*: Invalid address format",
    "hydra.launcher.address=127.0.0.9:1": "address=127.0.0.9:1: should be .* .no answer within 3 seconds.$",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_mistakes(override, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    silent = "127.0.0.9" in override  # others need no answer, but the time to find that out
    monkeypatch.setattr(engine, "ANSWER_SECONDS", 3 if silent else 120)
    result = call("train", *SWEEP, override)
    assert result.code == 1
    assert re.search(MISTAKES[override], result.text, re.MULTILINE)
    assert "started" not in result.text


def test_ray_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(engine, "OWN_CLUSTER", {})
    result = call("train", *SWEEP, "seed=0,1")
    assert result.code == 1
    assert result.text.rstrip().endswith('pip install -c constraints.txt -e ".[ray]"')
