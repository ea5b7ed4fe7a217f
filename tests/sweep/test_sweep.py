"""Sweeps in this process: the names of jobs, which jobs are run, and the handling of their results."""

import re
import signal
import sys
from types import SimpleNamespace

import pytest
from commands import call, tree
from helpers import TINY_STEPS, config_of
from hydra.core.utils import JobStatus
from hydra.errors import CompactHydraException
from omegaconf import OmegaConf

import dqn
from dqn.config.paths import CONF
from dqn.errors import UserError
from dqn.storage.folder import RunFolder
from dqn.sweep import process, sweeper
from dqn.sweep.active import ActiveJob, last_line, seconds_left
from dqn.sweep.job import JobResult, SweepJob, table
from dqn.sweep.planner import MAX_BYTES, digest_of, folders_by_digest, readable, shortened
from dqn.sweep.pool import Pool
from dqn.sweep.sweeper import GridSweeper

RECIPE = """
# @package _global_
name: both
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      agent: dqn,double
"""
SWEEP = ["-m", "hydra.sweep.dir=runs", "hydra.sweeper.report=false", *TINY_STEPS]

NAMES = [
    (["agent.lr=0.001", "seed=0"], "lr=0.001,seed=0"),
    (["+experiment=a", "agent.lr=1e-5", "num_seeds=8"], "lr=1e-5"),
    (["experiment=b/c", "+experiment=a"], "experiment=b-c"),
    (["env.id=ALE/Pong-v5"], "id=ALE-Pong-v5"),
    (["+agent=ablation/less_double"], "agent=ablation-less_double"),
    (["network.torso.hidden_sizes=[64,64]"], "hidden_sizes=64-64"),
    (["agent.lr=-1", "agent.max_grad_norm=null"], "lr=-1,max_grad_norm=null"),
    (["env.id='ü b'", "network/head=x"], "id=-b,head=x"),
    (["env.id=1", "+env.kwargs.id=2"], "env.id=1,kwargs.id=2"),
    (["~agent.lr"], ""),
    ([], ""),
]


@pytest.mark.parametrize(("overrides", "name"), NAMES, ids=[name for _, name in NAMES])
def test_names(overrides, name):
    assert readable(overrides, {"num_seeds=8", "+experiment=a"}) == name


def test_the_last_override_of_a_key_counts(tmp_path):
    grid, got = GridSweeper(params={"a": 1, "b": "1,2"}, report=False), []
    grid._context = SimpleNamespace(config_loader=None)
    grid._config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    grid._launcher = SimpleNamespace(launch=lambda overrides, initial_job_idx: got.append(overrides) or [])
    grid.sweep(["a=1", "a=1,2", "b=3"])
    assert got == [[["a=1", "b=3"], ["a=2", "b=3"]]]


def test_names_are_short(tmp_path):
    overrides = [f"a{i}.key_of_some_length_{i}={'väl/ue' * 30}" for i in range(30)]
    digest = digest_of({})
    name = f"{readable(overrides, ())}_{digest}"
    assert 100 < len(name.encode()) <= MAX_BYTES
    assert re.fullmatch(r"[\w.,=+-]+", name, re.ASCII)
    for path in (name, digest_of({"a": 1}), "report"):
        (tmp_path / path).mkdir()
    assert folders_by_digest(tmp_path) == {digest: name, digest_of({"a": 1}): digest_of({"a": 1})}


def test_keys_are_shortened_but_distinct():
    keys = ["a.b.x", "a.c.x", "x", "d.y"]
    assert list(shortened(keys).values()) == ["b.x", "c.x", "x", "y"]


def test_digests():
    config = config_of([])
    assert digest_of(dict(reversed(config.items()))) == digest_of(config) == digest_of(config_of([]))
    assert digest_of(config_of(["seed=1"])) != digest_of(config)


class Inline:
    """Runs a job in this process when it starts."""

    def __init__(self, spec, env, node):
        spec.folder.mkdir(parents=True, exist_ok=True)
        self.end = JobResult(process.work(spec))

    def ended(self):
        return self.end


@pytest.fixture(autouse=True)
def _inline(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "Process", Inline)
    monkeypatch.chdir(tmp_path)


def starts(text: str) -> int:
    return len(re.findall("^started ", text, re.MULTILINE))


def test_same_command_again(tmp_path):
    first = call("train", *SWEEP, "seed=0,1")
    assert (first.code, starts(first.text)) == (0, 2), first.text
    assert first.text.rstrip().endswith("2 finished")
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert [name.partition("_")[0] for name in names] == ["seed=0", "seed=1"]
    before = tree(tmp_path)

    again = call("train", *SWEEP, "seed=0,1")
    assert (again.code, starts(again.text)) == (0, 0)
    assert again.text.count("already finished") == 2
    assert again.text.rstrip().endswith("2 skipped")
    alone = call("train", *SWEEP, "seed=1")  # the same job, although nothing is swept
    assert alone.text.rstrip().endswith("1 skipped")
    assert tree(tmp_path) == before

    more = call("train", *SWEEP, "seed=0,1,2", "agent.lr=0.0005")
    assert (more.code, starts(more.text)) == (0, 1)
    assert more.text.rstrip().endswith("1 finished, 2 skipped")
    assert before.items() <= tree(tmp_path).items()


def test_one_configuration_written_in_two_ways():
    result = call("train", *SWEEP, "runner.total_steps=400,4e2")
    assert (result.code, starts(result.text)) == (0, 1)
    assert result.text.rstrip().endswith("1 finished, 1 skipped")


def test_failures_and_jobs_for_sweepers(monkeypatch):
    got = []
    monkeypatch.setattr(GridSweeper, "log_results", lambda self, jobs, folder: got.extend(jobs))
    nan = ["env.module=parts", "env.id=Explosive-v0,CartPole-v1", "agent.lr=-1,1e-3"]
    result = call("train", *SWEEP, *nan, "network.head.huber_delta=null", "env.reward_scale=1.0")
    assert result.code == 1
    jobs = {job.name.partition("_")[0]: job for job in got}
    assert {name: (job.state, job.status) for name, job in jobs.items()} == {
        "id=Explosive-v0,lr=-1": ("failed", JobStatus.FAILED),
        "id=Explosive-v0,lr=0.001": ("failed", JobStatus.FAILED),
        "id=CartPole-v1,lr=-1": ("failed", JobStatus.FAILED),
        "id=CartPole-v1,lr=0.001": ("finished", JobStatus.COMPLETED),
    }
    assert result.text.index("failed    id=CartPole-v1,lr=-1: ") < result.text.index("started ")
    with pytest.raises(CompactHydraException, match=r"agent\.lr=-1: should be greater than 0"):
        _ = jobs["id=CartPole-v1,lr=-1"].return_value
    exploded, good = jobs["id=Explosive-v0,lr=0.001"], jobs["id=CartPole-v1,lr=0.001"]
    assert "in update 1;" in exploded.reason
    assert good.return_value == good.folder.status()["result"]
    assert good.hydra_cfg.hydra.runtime.output_dir == str(good.folder.path)
    assert good.cfg.env.id == "CartPole-v1"
    assert "hydra" not in good.cfg


def test_table_and_success(tmp_path):
    done, bad, old = SweepJob(name="a"), SweepJob(name="b"), SweepJob(name="c", folder=RunFolder(tmp_path))
    done.succeed("finished", 12.345)
    bad.fail("2 mistakes:\n  one\n  two")
    (tmp_path / "log.txt").write_text("some\nlast line\n\n")
    old.fail(last_line(old))
    last = SweepJob(name="d_0123456789", overrides=["+agent=double", "hydra.launcher.n_jobs=2"])
    lines = table([done, bad, old, last]).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["finished", "failed", "failed", "not"]
    assert "12.35" in lines[1] or "12.34" in lines[1]
    assert lines[2].endswith("b: 2 mistakes: one; two")
    assert lines[3].endswith("c: last line; log: log.txt")
    assert lines[4].endswith(" agent=double"), "named as in the report"
    assert lines[5] == "1 finished, 2 failed, 1 not started"
    for jobs in ([done], [done, bad]):
        grid = GridSweeper(params=None, report=False)
        grid._launcher = SimpleNamespace(launch=lambda overrides, initial_job_idx, jobs=jobs: jobs)
        assert grid.run([], tmp_path) == (jobs == [done])


FINISHED = {"state": "finished", "result": 7.0}
ENDS = [
    (0, FINISHED, "finished", ""),
    (1, FINISHED, "finished", ""),  # its summary could not be printed
    (-signal.SIGKILL, FINISHED, "finished", ""),
    (130, {"state": "interrupted"}, "interrupted", "interrupted"),
    (1, {"state": "interrupted"}, "interrupted", "interrupted"),
    (-signal.SIGTERM, {}, "interrupted", "interrupted"),  # before it could handle the signal
    (-signal.SIGKILL, {"state": "running"}, "failed", "killed by SIGKILL"),
    (-200, {}, "failed", "killed by signal 200"),
    (1, {"state": "failed", "error": "it broke"}, "failed", "it broke"),
    (3, {"state": "running"}, "failed", "ended with exit code 3"),
]


@pytest.mark.parametrize(("code", "status", "state", "reason"), ENDS)
def test_how_a_job_ended(code, status, state, reason, tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_config({}, [])
    job = SweepJob(name="a", folder=folder)
    active = ActiveJob(job, handle=None, before={}, since=0.0)
    folder.update_status(**status)
    Pool(start=None, n_jobs=1, total=1)._settle(active, JobResult(code))
    assert (job.state, job.reason) == (state, reason)


MEDIAN = [100.0, 300.0, 200.0]


@pytest.mark.parametrize(
    ("running", "durations", "unstarted", "left"),
    [
        ([], [], 3, None),
        ([(10, None)], [], 3, None),
        ([(10, 50)], [], 1, (40 + 50) / 2),  # as long as the running job will take
        ([(50, None), (10, None)], MEDIAN, 4, (150 + 190 + 4 * 200) / 2),
        ([(50, None), (10, 600)], MEDIAN, 0, 590),  # the longest job, at its own speed
        ([(900, None)], MEDIAN, 0, 0),
    ],
)
def test_the_time_left(running, durations, unstarted, left, monkeypatch):
    monkeypatch.setattr("dqn.sweep.active.time.monotonic", lambda: 1000.0)
    jobs = [ActiveJob(SweepJob(), None, {}, since=1000.0 - elapsed, duration=d) for elapsed, d in running]
    assert seconds_left(jobs, durations, unstarted=unstarted, n_jobs=2) == left


def test_how_far_a_job_is(tmp_path, monkeypatch):
    """A job that resumes a run at tick 100 of 300 takes as long as the other ticks."""
    folder = RunFolder(tmp_path)
    progress = {"unit": "step", "iteration": 1, "updates": 0, "steps": [], "episodes": [], "total": 200}
    folder.update_status(state="interrupted", progress=progress | {"tick": 100})
    monkeypatch.setattr("dqn.sweep.active.time.monotonic", lambda: 30.0)
    active = ActiveJob(SweepJob(folder=folder), None, folder.stored_status(), since=0.0)
    active.look()
    assert (active.is_queued, active.duration) == (True, None)
    folder.update_status(state="running")
    active.look()
    assert (active.is_queued, active.duration) == (False, None)
    folder.update_status(progress=progress | {"tick": 150, "total": 300})
    active.look()
    assert (active.is_queued, active.duration) == (False, 30 * 200 / 50)


def test_a_sweep_says_how_far_it_is(tmp_path, caplog, monkeypatch):
    """With each job that ends, and in a log after five minutes of silence."""
    caplog.set_level("INFO")
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + 100))

    def start(job: SweepJob) -> Timed:
        if job.name == "bad":
            raise UserError("it cannot start")
        return Timed(job, now, end=now[0] + (900 if job.name == "long" else 200))

    jobs = []
    for name in ("bad", "short", "long", "last"):
        jobs.append(SweepJob(name=name, folder=RunFolder(tmp_path / name), config={"name": name}))
    Pool(start, n_jobs=2, total=4).run(iter(jobs))
    assert caplog.messages == [
        "failed    bad: it cannot start | 1 of 4 done",
        "started   1 of 4: short",
        "started   2 of 4: long",
        "finished  short: 7.00 after 200 s | 2 of 4 done | about 2 min left",
        "started   3 of 4: last",
        "finished  last: 7.00 after 200 s | 3 of 4 done",
        "jobs done: 3 of 4 | 1 running, 1 failed",
        "finished  long: 7.00 after 900 s | 4 of 4 done",
    ]


class Timed:
    """A job that finishes at a moment."""

    def __init__(self, job: SweepJob, now: list[float], end: float) -> None:
        self._job, self._now, self._end = job, now, end
        job.run_folder.path.mkdir()
        job.run_folder.update_status(state="running")

    def ended(self) -> JobResult | None:
        if self._now[0] < self._end:
            return None
        self._job.run_folder.write_config(self._job.config, [])
        self._job.run_folder.update_status(state="finished", result=7.0)
        return JobResult(0)


def test_stopped_while_a_job_is_planned():
    """The step is finished first: it may write to the database of a search."""
    finished = []

    def jobs():
        signal.raise_signal(signal.SIGTERM)
        finished.append(True)
        yield from ()

    with pytest.raises(KeyboardInterrupt):
        Pool(start=None, n_jobs=1, total=1).run(jobs())
    assert finished


@pytest.mark.parametrize("launcher", ["basic", "processes"])
def test_sweeper_of_hydra(launcher):
    """Hydra's default sweeper works with our launcher, and Hydra's default launcher with our sweeper."""
    overrides = [*SWEEP, f"hydra/launcher={launcher}", "agent.lr=-1,1e-3"]
    if launcher == "processes":
        overrides.remove("hydra.sweeper.report=false")
        overrides.append("hydra/sweeper=basic")
    result = call("train", *overrides)
    assert result.code == 1
    assert "agent.lr=-1: should be greater than 0" in result.text
    assert "finished: mean" in result.text


@pytest.fixture
def in_use(tmp_path, monkeypatch):
    """Return a folder that is in use until a job waits for it."""
    folder = RunFolder(tmp_path / "runs" / "0")
    wait = Pool._wait

    def wait_and_release(pool: Pool, job: SweepJob) -> None:
        wait(pool, job)
        folder._lock.release()

    monkeypatch.setattr(Pool, "_wait", wait_and_release)
    with folder.locked():
        yield folder


@pytest.mark.usefixtures("in_use")
def test_a_folder_that_is_in_use():
    """Other jobs run first; then the sweep waits for the folder."""
    result = call("train", *SWEEP, "seed=0,1", "hydra.sweep.subdir='${seed}'")
    assert result.code == 0
    assert result.text.count("waiting   0: in use by another process") == 1
    assert result.text.index("started   1 of 2: 1") < result.text.index("started   2 of 2: 0")


@pytest.mark.usefixtures("in_use")
def test_two_sweeps_that_start_the_same_job(monkeypatch):
    """The folder was free when the sweep checked it."""
    monkeypatch.setattr(RunFolder, "in_use", lambda self: False)
    result = call("train", *SWEEP, "seed=0", "hydra.sweep.subdir='${seed}'")
    assert result.code == 0
    assert "waiting   0: in use by another process" in result.text
    assert result.text.rstrip().endswith("1 finished")


def test_a_recipe_that_is_a_sweep(tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "both.yaml").write_text(RECIPE)
    overrides = ["--config-dir", "mine", *TINY_STEPS, "+experiment=both", "hydra.sweeper.report=false"]
    result = call("train", *overrides)
    assert (result.code, starts(result.text)) == (0, 2)
    names = sorted(path.name.partition("_")[0] for path in (tmp_path / "outputs" / "both").iterdir())
    assert names == ["agent=double", "agent=dqn"]
    result = call("train", *overrides, "agent=double")
    assert (result.code, starts(result.text)) == (0, 0)


@pytest.mark.parametrize(
    ("recipe", "folder", "names"),
    [
        ("ablation", "ablation", {"agent=rainbow", "agent=ablation-less"}),
        ("[presets/acrobot,presets/all]", "presets_acrobot", {"agent=dqn", "agent=rainbow"}),
        ("revisiting/all", "revisiting", {"experiment=revisiting-lunarlander,agents=iqn"}),
    ],
)
def test_shipped_sweeps(recipe, folder, names, tmp_path, monkeypatch):
    """Every job is valid and has a separate folder; none is run here."""
    got = []
    monkeypatch.setattr(Pool, "run", lambda self, jobs: got.extend(jobs))
    call("train", f"+experiment={recipe}")
    assert {job.state for job in got} == {"due"}
    assert {job.folder.path.parent for job in got} == {tmp_path / "outputs" / folder}
    counts = {"ablation": 14, "presets_acrobot": len(list((CONF / "agent").glob("*.yaml"))), "revisiting": 20}
    assert len({job.name for job in got}) == len(got) == counts[folder]
    assert {job.config["num_seeds"] for job in got} == {10}
    assert names <= {job.name.partition("_")[0] for job in got}


def test_the_report_covers_the_jobs_of_the_sweep(monkeypatch, capsys):
    got = []
    monkeypatch.setattr(
        sweeper, "try_to_report", lambda folders, output: got.append((folders, output)) or "it"
    )
    overrides = [override for override in SWEEP if "report" not in override]
    call("train", *SWEEP, "seed=0")
    result = call("train", *overrides, "seed=1,2", "agent.lr=1e-3,-1")
    ((folders, output),) = got
    assert sorted(str(folder).partition("_")[0] for folder in folders) == [
        "runs/seed=1,lr=0.001",
        "runs/seed=2,lr=0.001",
    ]
    assert str(output) == "runs/report"
    assert result.text.splitlines()[-2:] == ["2 finished, 2 failed", "it"]


def test_report(finished_run, tmp_path, monkeypatch):
    assert sweeper.try_to_report([finished_run], tmp_path / "report") == "report: report/report.html"
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = sweeper.try_to_report([finished_run], tmp_path / "other")
    assert text.startswith("no report: ")
    assert len(text.splitlines()) == 1


def test_a_library_call_cannot_sweep():
    with pytest.raises(UserError, match="MULTIRUN: is a sweep"):
        dqn.train(["hydra.mode=MULTIRUN"])


MISTAKES = [
    ("hydra.launcher.n_jobs=0", "hydra.launcher.n_jobs=0: should be greater than 0"),
    ("hydra.sweeper.report=5", "hydra.sweeper.report=5: should be true or false"),
    ("seed=interval(0,3)", "seed=interval(0,3): should be one value or several"),
    ("seed=range(3,0)", "seed=range(3,0): the range is empty"),
    ("seed=range(0,3,0)", "seed=range(0,3,0): the range is empty"),
    ("agent.lrr=interval(0,3)", "agent.lrr=0.0: no such key"),
    ("hydra.launcher.n_job=3", "hydra.launcher has n_jobs"),
]


@pytest.mark.parametrize(("override", "message"), MISTAKES, ids=[override for override, _ in MISTAKES])
def test_mistakes(override, message, tmp_path):
    result = call("train", *SWEEP, override)
    assert result.code == 1
    assert message in result.text
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())


def test_no_folder_is_left_if_all_jobs_are_invalid(tmp_path):
    result = call("train", *SWEEP, "agent.lr=-1,-2")
    assert result.code == 1
    assert result.text.rstrip().endswith("2 failed")
    assert tree(tmp_path) == {}
