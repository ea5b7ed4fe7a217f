"""Searches in this process: proposed values, results of trials, and the final messages."""

import math
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
import yaml
from commands import tree
from helpers import config_of
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState, create_trial
from searches import RANGE, Cheap, Slow, record, search, write_returns

from dqn.config.paths import CONF
from dqn.config.validate import check
from dqn.errors import UserError
from dqn.storage.folder import RunFolder, seeds_of
from dqn.storage.metrics import final_scores
from dqn.sweep import pool, process
from dqn.sweep.job import SweepJob
from dqn.sweep.search.outcome import write_record
from dqn.sweep.search.samplers import GridSampler, RandomSampler, SearchSampler, TpeSampler
from dqn.sweep.search.space import space_of, text, to_distribution, values_of
from dqn.sweep.search.study import open_study, periodic_returns, reason_of, storing, trial_jobs, trials_left

GRAMMAR = [
    ("interval(0, 1)", FloatDistribution(0.0, 1.0)),
    ("tag(log, interval(1e-5, 1e-2))", FloatDistribution(1e-5, 1e-2, log=True)),
    ("int(interval(1, 9))", IntDistribution(1, 9)),
    ("tag(log, int(interval(1, 9)))", IntDistribution(1, 9, log=True)),
    ("range(1, 5)", IntDistribution(1, 4)),
    ("range(1, 10, 4)", IntDistribution(1, 9, step=4)),
    ("range(9, 0, -4)", IntDistribution(1, 9, step=4)),
    ("tag(log, range(1, 5))", IntDistribution(1, 4, log=True)),
    ("range(0, 1, 0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
    ("choice(a, 1, 1e-3)", CategoricalDistribution(["a", "1", "0.001"])),
    ("a,null", CategoricalDistribution(["a", "null"])),
    ("choice([64,64],[128])", CategoricalDistribution(["[64,64]", "[128]"])),
    ("1,2", CategoricalDistribution(["1", "2"])),
]
INVALID_RANGES = [
    ("tag(linear, interval(0, 1))", "should have the tag log, not linear"),
    ("tag(log, choice(1, 2))", "only an interval or a range of numbers can be logarithmic"),
    ("interval(0, inf)", "should have finite bounds"),
    ("interval(2, 1)", "low"),
    ("tag(log, interval(0, 1))", "low"),
    ("tag(log, range(1, 9, 2))", "step"),
    ("range(5, 1)", "the range is empty"),
    ("range(1, 5, 0)", "the range is empty"),
]


def override_of(text: str):
    return OverridesParser.create().parse_overrides([text])[0]


@pytest.mark.parametrize(("value", "expected"), GRAMMAR, ids=[value for value, _ in GRAMMAR])
def test_ranges(value, expected):
    assert to_distribution(override_of(f"key={value}")) == expected


@pytest.mark.parametrize(("value", "message"), INVALID_RANGES, ids=[value for value, _ in INVALID_RANGES])
def test_invalid_ranges(value, message):
    with pytest.raises(UserError, match=f"1 mistake in the search:\n  .*{message}"):
        space_of([override_of(f"key={value}")])


def test_overrides_of_a_trial():
    parser = OverridesParser.create()
    overrides = ["+x=1", "agent=c", "agent.lr=interval(0,1)", "n=1,2", "x=2"]
    space = space_of(parser.parse_overrides(overrides))
    assert space.overrides({"agent.lr": 1 / 3, "n": "2"}) == [
        "+x=1",
        "agent=c",
        "x=2",
        "agent.lr=0.333333",
        "n=2",
    ]
    assert [text(value) for value in (3, 2.0, 0.99999, 1.5e-7, "[1,2]")] == [
        "3",
        "2",
        "0.99999",
        "1.5e-07",
        "[1,2]",
    ]


def test_values_of_ranges():
    assert values_of("a", IntDistribution(1, 9, step=4)) == [1, 5, 9]
    assert values_of("a", FloatDistribution(0.1, 0.3, step=0.1)) == pytest.approx([0.1, 0.2, 0.3])
    assert values_of("a", CategoricalDistribution(["x", "y"])) == ["x", "y"]
    with pytest.raises(UserError, match=r"a=interval\(0,1\): should be a choice or a range with steps"):
        values_of("a", FloatDistribution(0.0, 1.0))


def returns_of(tmp_path, config, **lines):
    for tag, returns in lines.items():
        write_returns(tmp_path, config, returns, tag=f"{tag}/return")
    return periodic_returns(RunFolder(tmp_path), config)


def test_returns_of_a_running_job(tmp_path):
    config = config_of(["seed=3", "num_seeds=2", "runner.eval_period=1"])
    assert returns_of(tmp_path, config) == {}
    assert returns_of(tmp_path, config, eval=[10.0, 20.0]) == {1: 10.5, 2: 20.5}
    with (tmp_path / "seed=3" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "time/steps_per_second": 1.0, "eval/return": 5.0}\n{"step": 4')
    assert periodic_returns(RunFolder(tmp_path), config) == {1: 10.5, 2: 20.5}
    config["runner"]["eval_episodes"] = 0
    assert returns_of(tmp_path, config, train=[10.0, 20.0]) == {1: 10.5, 2: 15.5}
    assert final_scores(RunFolder(tmp_path), seeds_of(config)) == [15.0, 16.0]


def lr_of(config):
    return config["agent"]["lr"]


def hill(config) -> float:
    """Return 100 at a learning rate of 1e-3, less elsewhere."""
    return 100 - 10 * (math.log10(lr_of(config)) + 3) ** 2


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def jobs(monkeypatch):
    """Return a function that replaces training by an objective."""

    def use(objective):
        cheap = Cheap(objective)
        monkeypatch.setattr(process, "Process", cheap)
        return cheap

    return use


def test_a_search_and_the_same_command_twice(jobs, tmp_path):
    cheap = jobs(hill)
    overrides = [RANGE, "num_seeds=2", "runner.batch_size=choice(16,32)", "hydra.sweeper.fresh_seeds=4"]
    result = search(*overrides, "hydra.sweeper.n_trials=5")
    assert result.code == 0, result.text
    *trials, rerun = cheap.started
    assert len(trials) == 5
    assert {config["runner"]["batch_size"] for config in trials} <= {16, 32}
    assert {config["runner"]["total_steps"] for config in trials} == {400}
    best = max(trials, key=hill)
    assert rerun == best | {"seed": 2, "num_seeds": 4}
    assert {config["seed"] for config in trials} == {0}
    found = record(tmp_path / "runs")
    assert found["best"]["result"] == pytest.approx(hill(best))
    assert found["best"]["settings"]["agent.lr"] == text(lr_of(best))
    assert found["best"]["seeds"] == [0, 1]
    assert found["fresh"]["result"] == pytest.approx(hill(best))
    assert list(found["fresh"]["scores"]) == ["2", "3", "4", "5"]
    assert found["fresh"]["interval"][0] < hill(best) < found["fresh"]["interval"][1]
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 5
    assert all((tmp_path / "runs" / trial["folder"]).is_dir() for trial in found["trials"])
    number = found["best"]["trial"]
    settings = f"runner.batch_size={best['runner']['batch_size']} agent.lr={text(lr_of(best))}"
    assert f"best of 5 trials, trial {number}: {settings}" in result.text
    assert "in the search, seeds 0 to 1: " in result.text
    assert "(the best of the trials, so biased upwards)" in result.text
    assert "on the fresh seeds 2 to 5: " in result.text
    assert "optuna-dashboard sqlite:///runs/search.db" in result.text

    cheap.started.clear()
    before = tree(tmp_path)
    again = search(*overrides, "hydra.sweeper.n_trials=5")
    assert (again.code, cheap.started) == (0, [])
    assert tree(tmp_path).keys() == before.keys()
    assert record(tmp_path / "runs") == found
    more = search(*overrides, "hydra.sweeper.n_trials=7", "hydra.sweeper.fresh_seeds=0")
    assert (more.code, len(cheap.started)) == (0, 2)
    assert record(tmp_path / "runs")["fresh"] is None


class Planner:
    """Gives jobs only a name."""

    def plan(self, job: SweepJob, number: int) -> None:
        job.name = f"trial {number}"


def propose(folder: Path, sampler: SearchSampler, ranges: list[str], most: int, *, at_once: int = 1):
    """Return the values of the new trials of a search in a folder, whose score is -`bowl`."""
    space = space_of(OverridesParser.create().parse_overrides(ranges))
    folder.mkdir(exist_ok=True)
    study = open_study(folder, space, {})
    found, running = [], []
    jobs = trial_jobs(study, space=space, sampler=sampler, planner=Planner(), most=most)
    while (job := next(jobs, None)) or running:
        if job:
            found.append(tuple(float(text.partition("=")[2]) for text in job.overrides))
            running.append((job, found[-1]))
        if not job or len(running) == at_once:
            ended, values = running.pop(0)
            ended.succeed("finished", -bowl(values))
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    return found


@pytest.mark.parametrize("state", ["WAITING", "RUNNING"])
def test_trials_left_by_kills(state, tmp_path):
    """A trial that was being pruned is pruned; any other is continued, also before it had a job."""
    space = space_of(map(override_of, SQUARE))
    study = open_study(tmp_path, space, {})
    values = [{"a": 0.25, "b": 0.5}, {"a": 0.75, "b": 1.0}]
    for one, its_state in zip(values, ("RUNNING", state), strict=True):
        trial = create_trial(
            state=TrialState[its_state],
            params=one,
            distributions=dict(space.ranges),
            intermediate_values={1: 1.0} if its_state == "RUNNING" else {},
            user_attrs={"verdict": "too low"} if one is values[0] else {},
        )
        study.add_trial(trial)
    assert trials_left(study, 3) == 3
    sampler = RandomSampler(seed=0)
    jobs = list(trial_jobs(study, space=space, sampler=sampler, planner=Planner(), most=3))
    assert [job.name for job in jobs] == ["trial 1", "trial 2"]
    assert jobs[0].overrides == space.overrides(values[1])
    assert [job.reported for job in jobs] == [int(state == "RUNNING"), 0]
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "RUNNING", "RUNNING"]
    assert reason_of(study.trials[0]) == "too low"


def test_a_search_killed_while_it_checks_a_trial(tmp_path, monkeypatch):
    """The trial keeps its number and values, and no other takes its place."""
    whole = propose(tmp_path / "whole", RandomSampler(seed=0), SQUARE, 3)

    def killed(self: Planner, job: SweepJob, number: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Planner, "plan", killed)
        with pytest.raises(KeyboardInterrupt):
            propose(tmp_path / "killed", RandomSampler(seed=0), SQUARE, 3)
    assert propose(tmp_path / "killed", RandomSampler(seed=0), SQUARE, 3) == whole


def bowl(values) -> float:
    return sum((value - 0.7) ** 2 for value in values)


SQUARE = ["a=interval(0,1)", "b=interval(0,1)"]
SAMPLERS = [TpeSampler(seed=0, n_startup_trials=3), RandomSampler(seed=0)]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=["tpe", "random"])
def test_samplers_are_deterministic(sampler, tmp_path):
    """One search, a search in two parts and a repetition agree; another seed proposes other values."""
    whole = propose(tmp_path / "whole", sampler, SQUARE, 8)
    parts = [propose(tmp_path / "parts", sampler, SQUARE, most) for most in (5, 8)]
    assert [*parts[0], *parts[1]] == whole
    assert len(set(whole)) == 8
    other = propose(tmp_path / "other", replace(sampler, seed=1), SQUARE, 8)
    assert not set(other) & set(whole)


def test_tpe_learns_from_trials(tmp_path):
    """Also with two trials at a time."""
    values = propose(tmp_path, TpeSampler(seed=0, n_startup_trials=10), SQUARE, 40, at_once=2)
    errors = [bowl(one) for one in values]
    assert median(errors[30:]) < 0.3 * median(errors[:10])


@pytest.mark.parametrize("at_once", [1, 3])
def test_grid(at_once, tmp_path):
    """Each combination is tried once, for any number of jobs at a time."""
    ranges = ["a=choice(3,1)", "b=range(0,1,0.25)"]
    values = propose(
        tmp_path,
        GridSampler(),
        ranges,
        GridSampler().max_trials(space_of(map(override_of, ranges)).ranges),
        at_once=at_once,
    )
    assert values == [(a, b) for a in (3, 1) for b in (0, 0.25, 0.5, 0.75)]


def test_limits_of_samplers():
    for sampler in (TpeSampler(seed=0, n_startup_trials=1), RandomSampler(seed=0)):
        assert sampler.max_trials({"a": FloatDistribution(0.0, 1.0)}) is None
    assert (
        GridSampler().max_trials({"a": IntDistribution(1, 3), "b": CategoricalDistribution(["x", "y"])}) == 6
    )


def test_failing_trials(jobs, tmp_path):
    """An error, a kill and an invalid value each fail one trial, which is not tried again."""

    def objective(config):
        if lr_of(config) == 2e-3:
            raise ValueError("it broke")
        return None if lr_of(config) == 3e-3 else 7.0

    cheap = jobs(objective)
    overrides = [
        "hydra/sweeper/sampler=grid",
        "agent.lr=choice(2e-3,3e-3,-1,4e-3)",
        "hydra.sweeper.fresh_seeds=1",
    ]
    result = search(*overrides)
    assert result.code == 0, result.text
    assert [lr_of(config) for config in cheap.started] == [2e-3, 3e-3, 4e-3, 4e-3]
    reasons = {
        trial["settings"]["agent.lr"]: trial["reason"] for trial in record(tmp_path / "runs")["trials"]
    }
    assert reasons["0.002"] == "it broke"
    assert reasons["0.003"] == "killed by SIGKILL"
    assert "agent.lr=-1: should be greater than 0" in reasons["-1"]
    assert reasons["0.004"] is None
    assert re.search(r"^failed +trial 2: agent\.lr=-1: 1 mistake", result.text, re.MULTILINE)
    cheap.started.clear()
    assert (search(*overrides).code, cheap.started) == (0, [])


def test_a_trial_whose_job_was_asked_to_stop(jobs, tmp_path):
    """It is continued by the same command, and the rerun waits for it."""
    cheap = jobs(lambda config: None if len(cheap.started) == 1 else 7.0)
    cheap.signal = signal.SIGTERM
    overrides = [RANGE, "hydra.sweeper.n_trials=1", "hydra.sweeper.fresh_seeds=1"]
    result = search(*overrides)
    assert (result.code, len(cheap.started)) == (1, 1)
    assert "interrupted: 1 interrupted; run the same command to continue: " in result.text
    assert [trial["state"] for trial in record(tmp_path / "runs")["trials"]] == ["running"]
    assert search(*overrides).code == 0
    assert cheap.started[1] == cheap.started[0]
    assert len(cheap.started) == 3
    assert [trial["state"] for trial in record(tmp_path / "runs")["trials"]] == ["complete"]


def test_files_that_cannot_be_written(tmp_path):
    (tmp_path / "search.json").mkdir()
    with pytest.raises(UserError, match=r"search.json: cannot be written \(.*\); all trials are kept in"):
        write_record(tmp_path, {})
    message = r"search.db: cannot be read or written \(database or disk is full\); the runs and the trials"
    with pytest.raises(UserError, match=message), storing(tmp_path):
        raise StorageInternalError("commit") from OSError("database or disk is full\n[SQL: INSERT]")


def test_no_trial_finishes(jobs, tmp_path):
    jobs(lambda config: math.nan)
    result = search(RANGE, "hydra.sweeper.n_trials=2")
    assert result.code == 1
    assert "its result is nan" in result.text
    assert "no trial has finished" in result.text
    assert record(tmp_path / "runs")["best"] is None


def test_the_rerun_fails(jobs):
    jobs(lambda config: 1.0 if config["seed"] == 0 else None)
    result = search(RANGE, "hydra.sweeper.n_trials=2")
    assert result.code == 1
    assert "killed by SIGKILL" in result.text
    assert "best of 2 trials" in result.text


def test_pruning(monkeypatch, tmp_path):
    """A trial below the median stops as an interrupted run; one that reached its end is not pruned."""
    low_at_the_end = [36.2] * 4  # where the median goes from 35 to 36.5
    slow = Slow(
        lambda config: (
            low_at_the_end if lr_of(config) == 5e-3 else [1e4 * lr_of(config) + i for i in range(4)]
        )
    )
    monkeypatch.setattr(process, "Process", slow)
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.0)
    overrides = [
        "hydra/sweeper/sampler=grid",
        "agent.lr=choice(3e-3,4e-3,2e-3,5e-3)",
        "hydra.launcher.n_jobs=1",
    ]
    overrides += ["hydra.sweeper.pruner.n_startup_trials=2", "hydra.sweeper.pruner.n_warmup_iterations=1"]
    result = search(*overrides, "hydra.sweeper.fresh_seeds=0")
    assert result.code == 0, result.text
    states = [(trial["state"], trial["reason"]) for trial in record(tmp_path / "runs")["trials"]]
    reason = "20.50 after iteration 2 is below the median"
    assert states == [("complete", None), ("complete", None), ("pruned", reason), ("complete", None)]
    pruned = RunFolder(slow.jobs[2].folder)
    assert pruned.status()["state"] == "interrupted"
    assert pruned.status()["error"] == f"pruned: {reason}"
    assert "3 finished, 1 pruned" in result.text


def test_no_pruning(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "Process", Slow(lambda config: [1e4 * lr_of(config)] * 2))
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.0)
    overrides = [
        "hydra/sweeper/sampler=grid",
        "hydra/sweeper/pruner=none",
        "agent.lr=choice(6e-3,5e-3,4e-3,3e-3)",
    ]
    result = search(*overrides, "hydra.sweeper.fresh_seeds=0", "hydra.launcher.n_jobs=1")
    assert result.text.rstrip().count("finished  ") >= 4
    assert {trial["state"] for trial in record(tmp_path / "runs")["trials"]} == {"complete"}


MISTAKES = [
    (["agent.lr=1e-3"], "a search needs a range: KEY=interval(LOW,HIGH)"),
    (["agent.lr=interval(2,1)"], "agent.lr=interval(2,1): "),
    (["agent.lrr=interval(1,2)"], "agent.lrr=1.0: no such key; did you mean agent.lr=1.0"),
    (["hydra.sweeper.params={agent.lrr: 'interval(1,2)'}"], "agent.lrr"),
    ([RANGE, "seed=range(0,3)"], "seed=range(0,3): should be one value, the same for all trials"),
    ([RANGE, "hydra/sweeper/sampler=cmaes"], "should be one of grid, random, tpe"),
    ([RANGE, "hydra.sweeper.sampler=tpe"], "should be given as hydra/sweeper/sampler=tpe"),
    (
        [RANGE, "hydra.sweeper.sampler.seed=-1"],
        "hydra.sweeper.sampler.seed=-1: should be greater than or equal",
    ),
    ([RANGE, "hydra/sweeper/sampler=grid"], "should be a choice or a range with steps for the grid sampler"),
    ([RANGE, "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: should be greater than 0"),
    ([RANGE, "hydra/launcher=basic"], "hydra/launcher: should be processes, slurm or ray for a search"),
]


@pytest.mark.parametrize(("overrides", "message"), MISTAKES, ids=[" ".join(given) for given, _ in MISTAKES])
def test_mistakes(jobs, overrides, message, tmp_path):
    cheap = jobs(hill)
    result = search(*overrides)
    assert (result.code, cheap.started) == (1, [])
    assert message in result.text
    assert "Traceback" not in result.text
    assert not (tmp_path / "runs").exists()


def test_the_folder_of_another_search(jobs):
    cheap = jobs(hill)
    assert search(RANGE, "hydra.sweeper.n_trials=1").code == 0
    cheap.started.clear()
    result = search("agent.lr=interval(0,1)", "runner.batch_size=16,32", "num_seeds=2")
    assert (result.code, cheap.started) == (1, [])
    assert "holds another search (trials of the two cannot be compared; " in result.text
    assert "give another name=NAME for a new search):" in result.text
    assert "num_seeds: 1 there, 2 here" in result.text
    assert 'agent.lr: {"name": "FloatDistribution"' in result.text
    assert "runner.batch_size: 16 there, " in result.text


def test_a_file_that_is_not_a_study(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "search.db").write_text("not a database")
    result = search(RANGE)
    assert result.code == 1
    assert "runs/search.db: not a study of Optuna" in result.text


def test_two_searches_in_one_folder(jobs, tmp_path):
    cheap = jobs(hill)
    (tmp_path / "runs").mkdir()
    with RunFolder(tmp_path / "runs").locked():
        result = search(RANGE)
    assert (result.code, cheap.started) == (1, [])
    assert "runs: in use by another process" in result.text


def test_without_optuna(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = search(RANGE)
    assert result.code == 1
    assert "hydra/sweeper=optuna needs Optuna; install the extra `search`: pip install" in result.text
    assert not (tmp_path / "runs").exists()


def test_the_recipe():
    """Both ends of every range are valid."""
    params = yaml.safe_load((CONF / "experiment" / "search_cartpole.yaml").read_text())["hydra"]["sweeper"][
        "params"
    ]
    space = space_of(override_of(f"{key}={value}") for key, value in params.items())
    for end, i in (("low", 0), ("high", -1)):
        values = {key: getattr(one, end, None) or one.choices[i] for key, one in space.ranges.items()}
        assert check(config_of(["+experiment=search_cartpole", *space.overrides(values)])).problems == []
