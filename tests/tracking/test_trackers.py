"""Trackers: they get the numbers of metrics.jsonl, and of a killed and resumed run each number once."""

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from commands import tree
from helpers import TINY_STEPS, config_of, make_runner
from records import read_events, read_metrics, scalars_of

from dqn.config.build import build
from dqn.config.preflight import preflight
from dqn.config.validate import check
from dqn.errors import UserError
from dqn.runner import Callback, Training
from dqn.storage.folder import RunFolder
from dqn.storage.reader import refuse_special_files

TWO = [*TINY_STEPS, "num_seeds=2", "runner.eval_period=1", "runner.eval_episodes=1"]
SPREADS = {f"seeds/{kind}_return_{name}" for kind in ("train", "eval") for name in ("iqm", "min", "max")}


class Kill(Callback):
    """Stands for a kill in the second iteration."""

    update_period = 1

    def on_update(self, run: Training, update: Any) -> None:
        if run.tick > 300:
            raise KeyboardInterrupt


def run_killed_and_resumed(folder: Path, overrides: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    config = config_of(overrides)
    assert check(config).problems == []
    killed = build(config, RunFolder(folder), {"kill": Kill()})
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    build(config, RunFolder(folder)).run()


def numbers(folder: Path) -> list[tuple[str, int, str, float]]:
    """Return the seed, step, tag and value of each number in metrics.jsonl but the speeds."""
    return sorted(
        (seed.removeprefix("seed="), int(line["step"]), tag, x)
        for seed, lines in read_metrics(folder).items()
        for line in lines
        for tag, x in line.items()
        if "/" in tag
    )


def assert_complete(folder: Path, found: list[tuple[str, int, str, float]]) -> None:
    """Assert that each number of metrics.jsonl, and the statistics over seeds, were tracked once."""
    of_seeds = [one for one in found if one[0] and not one[2].startswith("time/")]
    assert sorted(of_seeds) == numbers(folder)
    tags = sorted(one[1:3] for one in found if not one[0])
    assert tags == sorted((step, tag) for step in (200, 400) for tag in SPREADS)


def test_csv(tmp_path):
    """The table of a killed and resumed run has each number once."""
    run_killed_and_resumed(tmp_path, [*TWO, "tracker=csv"])
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    found = [(row["seed"], int(row["step"]), row["tag"], float(row["value"])) for row in rows]
    assert_complete(tmp_path, found)
    assert all((row["episode"] == "") == (row["update"] == "") == (row["seed"] == "") for row in rows)
    assert not list(tmp_path.rglob("events*"))


class FakeRun(SimpleNamespace):
    """A run of W&B."""

    def log(self, line: dict[str, float]) -> None:
        self.lines.append(line)

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.metrics[name] = step_metric

    def finish(self, exit_code: int = 0) -> None:
        self.codes.append(exit_code)


@pytest.fixture
def wandb(monkeypatch):
    """Replace the package wandb by what it does with the calls that it documents."""
    fake, runs = ModuleType("wandb"), {}

    def init(*, id: str, dir: Path, resume: str, reinit: str, settings: Any, **about: Any) -> FakeRun:
        assert (resume, reinit, dir.is_dir()) == ("allow", "create_new", True)
        if getattr(settings, "symlink", True):
            (dir / "latest-run").unlink(missing_ok=True)
            (dir / "latest-run").symlink_to(id)
        new = FakeRun(about=about, lines=[], metrics={}, codes=[], summary={})
        return runs.setdefault(id, new)

    fake.init, fake.Settings, fake.runs = init, SimpleNamespace, runs
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_wandb(wandb, tmp_path):
    run_killed_and_resumed(tmp_path, [*TWO, "tracker=[wandb,csv]", "name=mine"])
    assert [id.partition("-")[2] for id in wandb.runs] == ["seed0", "seed1", "seeds"]
    assert len({id.partition("-")[0] for id in wandb.runs}) == 1, "the resumed run continues them"
    for name, run in zip(("seed=0", "seed=1", "seeds"), wandb.runs.values(), strict=True):
        assert run.about["project"] == "mine"
        assert (run.about["group"], run.about["name"]) == (tmp_path.name, f"{tmp_path.name} {name}")
        assert run.about["config"]["agent"]["lr"] == 5e-4
        assert run.metrics == {"step": None, "*": "step"}
        assert run.codes == [1, 0]
        assert list(run.summary) == ["result"]
    found = [
        (seed, line["step"], tag, x)
        for seed, run in zip(("0", "1", ""), wandb.runs.values(), strict=True)
        for line in run.lines
        for tag, x in line.items()
        if "/" in tag
    ]
    assert_complete(tmp_path, found)
    refuse_special_files(tmp_path)


class FakeClient:
    """A client of MLflow whose server is out of reach while `fails` is above 0."""

    runs: dict[str, SimpleNamespace]
    fails = 0

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return f"experiment {name}"

    def create_run(self, experiment: str, *, tags: Any, run_name: str) -> Any:
        run = SimpleNamespace(
            experiment=experiment, name=run_name, tags=tags, params={}, metrics=[], states=[]
        )
        id = f"run{len(self.runs)}"
        self.runs[id] = run
        return SimpleNamespace(info=SimpleNamespace(run_id=id))

    def update_run(self, id: str, *, status: str) -> None:
        self.runs[id].states.append(status)

    def log_batch(self, id: str, *, params: Any = (), metrics: Any = ()) -> None:
        assert len(params) <= 100
        assert len(metrics) <= 1000
        if metrics and FakeClient.fails:
            FakeClient.fails -= 1
            raise ConnectionError("no route")
        self.runs[id].params.update(params)
        self.runs[id].metrics += metrics

    def log_metric(self, id: str, name: str, value: float) -> None:
        self.runs[id].result = value

    def set_terminated(self, id: str, status: str) -> None:
        self.runs[id].states.append(status)


@pytest.fixture
def mlflow(monkeypatch):
    """Replace the package mlflow by what it does with the calls that it documents."""
    fake, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    monkeypatch.setattr(FakeClient, "runs", {}, raising=False)
    fake.MlflowClient, fake.MlflowException = FakeClient, RuntimeError
    entities.Param = lambda key, value: (key, value)
    entities.Metric = lambda tag, value, time, step: (tag, value, step)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    return FakeClient


def test_mlflow(mlflow, tmp_path, caplog):
    """While the server is out of reach the run continues; it gets the numbers later."""
    mlflow.fails = 2
    run_killed_and_resumed(tmp_path, [*TWO, "tracker=mlflow"])
    assert "MLflow: " in caplog.text
    assert "could not be sent" in caplog.text
    runs = list(mlflow.runs.values())
    assert [run.name for run in runs] == [f"{tmp_path.name} {name}" for name in ("seed=0", "seed=1", "seeds")]
    for run in runs:
        assert (run.experiment, run.params["agent.lr"]) == ("experiment dqn", "0.0005")
        assert run.states == ["RUNNING", "KILLED", "RUNNING", "FINISHED"]
    found = [
        (seed, step, tag, x)
        for seed, run in zip(("0", "1", ""), runs, strict=True)
        for tag, x, step in run.metrics
        if "/" in tag
    ]
    assert_complete(tmp_path, found)


def test_none_or_several_or_a_custom_one(tmp_path):
    make_runner(tmp_path / "none", [*TINY_STEPS, "tracker=[]"]).run()
    assert not list((tmp_path / "none").rglob("events*"))
    custom = "+tracker.mine={_target_: hooked.Numbers}"
    runner = make_runner(tmp_path / "both", [*TINY_STEPS, "tracker=[tensorboard]", custom])
    runner.run()
    lines = read_metrics(tmp_path / "both")["seed=0"]
    assert runner.logger._opened["mine"].steps == [line["step"] for line in lines]
    events = scalars_of(read_events(tmp_path / "both" / "seed=0"))
    assert {step for step, _ in events} == {line["step"] for line in lines}


MISTAKES = [
    (
        "+tracker.mine={_target_: hooked.Stops}",
        "tracker.mine._target_=hooked.Stops: should be a subclass of dqn.tr",
    ),
    (
        "+tracker.mine={_target_: hooked.Numbers, x: 1}",
        "tracker.mine.x=1: no such key; tracker.mine has fails_in",
    ),
    ("+tracker.mine=5", "tracker.mine=5: should be {_target_: CLASS, ARGUMENT: VALUE}"),
    ("tracker=wandb", "needs wandb; install the extra `wandb`: pip install -c constraints.txt -e"),
    ("tracker=mlflow", "needs mlflow; install the extra `mlflow`: pip install -c constraints.txt -e"),
]


@pytest.mark.parametrize(("override", "text"), MISTAKES, ids=[override for override, _ in MISTAKES])
def test_mistakes_before_a_folder_is_made(override, text, tmp_path, monkeypatch):
    for package in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"^1 mistake") as error:
        preflight(config_of([override]), RunFolder(tmp_path / "run"), [override])
    assert text in str(error.value)
    assert tree(tmp_path) == {}


def test_an_error_names_the_tracker(tmp_path):
    runner = make_runner(tmp_path, [*TINY_STEPS, "+tracker.mine={_target_: hooked.Numbers, fails_in: log}"])
    with pytest.raises(
        UserError, match=r"^tracker\.mine failed in log \(hooked\.py, line \d+\): KeyError: 'x'$"
    ):
        runner.run()


def installed(package: str) -> Any:
    return pytest.mark.skipif(not importlib.util.find_spec(package), reason=f"needs the extra {package}")


@installed("wandb")
def test_wandb_offline(tmp_path, monkeypatch):
    for name, value in (("MODE", "offline"), ("SILENT", "true"), ("ERROR_REPORTING", "false")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    run_killed_and_resumed(tmp_path, [*TINY_STEPS, "tracker=wandb"])
    files = list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2, "one for each process"
    assert len({file.name for file in files}) == 1, "both of the same run"
    assert sum(file.read_bytes().count(b"train/return") for file in files) > 0
    refuse_special_files(tmp_path)


@installed("mlflow")
def test_mlflow_in_a_folder(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow.set_tracking_uri(f"file:{tmp_path / 'store'}")
    run_killed_and_resumed(tmp_path / "run", [*TINY_STEPS, "tracker=mlflow"])
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("dqn").experiment_id])
    assert (run.info.status, run.data.params["agent.lr"]) == ("FINISHED", "0.0005")
    found = [
        ("0", metric.step, tag, metric.value)
        for tag in run.data.metrics
        for metric in client.get_metric_history(run.info.run_id, tag)
        if "/" in tag and not tag.startswith("time/")
    ]
    assert sorted(found) == numbers(tmp_path / "run")
