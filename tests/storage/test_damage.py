"""Damaged values in the files of a run: refused in one sentence, and nothing is changed."""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call, tree
from helpers import config_of, train_run

import dqn
from dqn.config.api import load_policy
from dqn.config.build import build
from dqn.config.launch import launch
from dqn.config.preflight import CheckedRun
from dqn.report.read import read_record
from dqn.report.write import read_runs
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import RunFolder

OVERRIDES = [
    *(
        "runner.total_episodes=4",
        "runner.iteration_length=2",
        "runner.eval_episodes=1",
        "runner.eval_period=1",
    ),
    *("runner.learning_starts=8", "runner.batch_size=4", "network.torso.hidden_sizes=[4]"),
    *("memory=prioritized", "memory.capacity=500"),
]
DELETED = object()

LEARNER = {
    "tick": ["x", -1, None, 1.5, []],
    "iteration": ["x", -1, True],
    "nosuch": [1],
    "counters": [None, []],
    "counters.updates": ["1", -1],
    "counters.recent": ["text", [["x"]], [[1.0], [1.0]], {}],
    "counters.transitions": ["x", [[-1]], [[1, 2]], [[10**30]], [[1.0]], []],
    "counters.episodes": [[], [1, 2], [None], 4],
    "counters.evaluation": [[1.0], {"x": [1.0]}, {"0": "x"}],
    "logger.sums": [[], [[0.0]], "x", [["x"]] * 3],
    "logger.counts": [[-1], [0, 0]],
    "files": [[], "x", {}, {"metrics": [1], "trackers": {}}],
    "files.metrics": [[-1], [], [1, 1], ["x"]],
    "files.trackers": [[], {}, {"csv": {"bytes": 0}}],
    "files.trackers.tensorboard": [[], {}, {"events": 5}, {"bytes": 3}],
    "files.trackers.tensorboard.events": [[{"x": "y"}], [[]], [{}, {}], []],
    "agent": [None, [], {}, 5],
    "agent.compiles": ["yes", 2, DELETED],
    "agent.target": [{}, {"x": 1}, []],
    "agent.optimizer": [{}, [], None],
    "agent.optimizer.steps": [[], [torch.zeros(3)], ["x"]],
    "agent.optimizer.averages.0": [torch.zeros(1), torch.zeros(1).expand(10**12), "x"],
    "agent.actor": [{}, None],
    "agent.actor.exploration.used": [[-1], [257], ["x"], [0, 0], [0.5]],
    "agent.actor.exploration.streams": [[], [{}], "x"],
    "agent.actor.exploration.streams.0.state.state": [2**200, -1, "x"],
    "agent.actor.exploration.streams.0.bit_generator": ["MT19937", 5],
    "agent.learning_rng": [[], ["x"], {}],
}
MEMORY = {
    "ring": [{}, None],
    "ring.stored": [torch.tensor([-5]), torch.tensor([1.0]), torch.tensor([1, 2]), "x", 10**30],
    "ring.episode_start": [DELETED],
    "ring.is_start": [torch.zeros(63, dtype=torch.uint8), torch.full((63,), 255, dtype=torch.uint8)],
    "sampler": [[], {}],
    "sampler.largest": [torch.tensor([float("nan")], dtype=torch.float64), torch.zeros(2)],
    "sampler.priorities": [torch.zeros(1, 5), "x"],
    "sampler.streams.0.state.inc": [2**129, None],
}
BEST = {
    "policy": [{}, {"x": torch.zeros(1, 2)}, 5],
    "score": [[], ["x"], [1.0, 2.0]],
    "iteration": [[-1], [1, 2], [1.5]],
}
POLICY = {"first": [DELETED, "x", 5, torch.zeros(2), torch.zeros(1, 4, 4).int()], "nosuch": [torch.zeros(1)]}
MANIFEST = {
    "iteration": ["x", -1, None, 1.5],
    "files": [{}, [], "x", {"\x1b[2J": []}],
    "files.policy": [[], None, [5], {}],
    "files.policy.0.name": ["../../x", "/etc/passwd", "policy-2.pt\n", "x" * 10_000, 5, "memory-2.pt"],
    "files.policy.0.size": ["x", -1, 10**30, 5],
    "files.policy.0.sha256": ["x", None, "0" * 64],
}
EVERY = {"learner": LEARNER, "memory": MEMORY, "best": BEST, "policy": POLICY, "manifest": MANIFEST}
CASES = [
    pytest.param(part, path, value, id=f"{part} {path} {i}")
    for part, paths in EVERY.items()
    for path, values in paths.items()
    for i, value in enumerate(values)
]


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "run"
    train_run(folder, OVERRIDES)
    return folder


@pytest.fixture(scope="module")
def runner(template):
    """Return a runner that has loaded the intact checkpoint."""
    return build(config_of(OVERRIDES), RunFolder(template))


@pytest.fixture
def damaged(template, tmp_path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "run"))


def put(state: Any, path: str, value: Any) -> None:
    """Change the value at a dotted path of nested dicts and lists."""
    *parents, name = path.split(".")
    for key in parents:
        state = state[int(key) if isinstance(state, list) else key]
    key = int(name) if isinstance(state, list) else next(iter(state)) if name == "first" else name
    if value is DELETED:
        del state[key]
    else:
        state[key] = value


def replace_part(run: Path, part: str, content: bytes) -> None:
    """Replace a file of the checkpoint, and its size and digest in the manifest."""
    file = run / "checkpoint" / "manifest.json"
    manifest = json.loads(file.read_text())
    entry = manifest["files"][part][0]
    (run / "checkpoint" / entry["name"]).write_bytes(content)
    entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    file.write_text(json.dumps(manifest))


def damage(run: Path, part: str, path: str, value: Any) -> None:
    if part == "manifest":
        file = run / "checkpoint" / "manifest.json"
        manifest = json.loads(file.read_text())
        put(manifest, path, value)
        file.write_text(json.dumps(manifest))
        return
    (file,) = (run / "checkpoint").glob(f"{part}-*.pt")
    state = torch.load(file)
    put(state, path, copy.deepcopy(value))
    torch.save(state, run.parent / "part")
    replace_part(run, part, (run.parent / "part").read_bytes())


def resume(run: Path, **options: Any) -> float:
    config = config_of([*OVERRIDES, "runner.total_episodes=6"])
    checked = CheckedRun(config=config, folder=RunFolder(run), overrides=[], warnings=[])
    return launch(checked, **options)


def refused(run: Path, read: Callable[[Path], object]) -> str:
    """Assert that a function refuses a folder in one sentence and changes nothing; return the sentence."""
    before = tree(run)
    with pytest.raises(dqn.UserError) as caught:
        read(run)
    assert tree(run) | {".lock": ""} == before | {".lock": ""}
    text = str(caught.value)
    assert text.isprintable()
    assert text.startswith(str(run))
    assert len(text) < 1000
    return text


@pytest.mark.parametrize(("part", "path", "value"), CASES)
def test_damaged_checkpoints(damaged, runner, part, path, value):
    damage(damaged, part, path, value)
    refused(damaged, lambda run: Checkpoint(run).restore(runner.parts(best=True)))
    if part in ("policy", "best") and path != "score":
        which = "best" if part == "best" else "last"
        refused(damaged, lambda run: load_policy(config_of(OVERRIDES), RunFolder(run), None, which))


@pytest.mark.parametrize("part", EVERY)
def test_resuming_a_damaged_checkpoint_changes_nothing(damaged, part):
    path, (value, *_) = next(iter(EVERY[part].items()))
    damage(damaged, part, path, value)
    refused(damaged, resume)


def test_the_undamaged_checkpoint_is_resumed(damaged):
    assert resume(damaged) > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("action", 2), ("action", 255), ("end", 4), ("reward", float("nan")), ("reward", float("inf"))],
)
def test_rows_that_no_step_has(damaged, runner, name, value):
    ring = runner.memory.ring
    array = getattr(ring, name)
    array[3], before = value, array[3].copy()
    checkpoint = Checkpoint(damaged)
    checkpoint.save(7, {"rows": runner.memory.rows})
    array[3] = before
    refused(damaged, lambda _: checkpoint.restore(runner.parts(best=True)))


def test_commands_refuse_a_damaged_policy(damaged, tmp_path):
    damage(damaged, "policy", "first", "x")
    before = tree(damaged)
    for command in (["evaluate", damaged, "episodes=1"], ["export", damaged, tmp_path / "policy.pt2"]):
        result = call(*command)
        assert (result.code, tree(damaged)) == (1, before)
        assert result.text.startswith(f"{damaged}/checkpoint: the part 'policy' of the checkpoint is not")
    refused(damaged, dqn.load)


STATUS = {
    "state": ["x", 5, None],
    "result": ["x", [1], True],
    "progress": [[], {}, {"tick": 1}, 5],
    "progress.tick": ["x", -1, 1.5],
    "best": [[], {"seeds": {}}, 5],
    "best.seeds": [{"x": {"mean_return": 1.0, "iteration": 1}}, {"0": 5}, {"0": {"mean_return": "x"}}],
    "evaluation": [[1.0], {"0": []}, {"x": [1.0]}, {"0": ["x"]}],
    "versions": [[], {"dqn": 5}],
    "commands": ["x", [5]],
    "cpu_seconds": ["x", None],
}


def test_a_damaged_status_counts_as_missing(damaged):
    file = damaged / "status.json"
    whole = file.read_text()
    assert RunFolder(damaged).stored_status()["state"] == "finished"
    for path, values in STATUS.items():
        for value in values:
            status = json.loads(whole)
            put(status, path, value)
            file.write_text(json.dumps(status))
            assert RunFolder(damaged).stored_status() == {}, (path, value)
    record = read_record(damaged)
    assert (record.state, record.notes) == ("unknown", ["status.json cannot be read: its outcome is unknown"])
    assert resume(damaged) > 0
    assert RunFolder(damaged).stored_status()["state"] == "finished"


CONFIGS = {
    "a number without an end": "seed: 0x" + "f" * 10_000,
    "digits": "seed: " + "9" * 10_000,
    "a date": "seed: 2020-01-01",
    "a list": "[1]",
    "no YAML": "a: [",
    "no text": "\x00",
    "too long": "a: " + "x" * 2**20,
    "an escape": 'a: "\\e[2J": 1',
}


def test_one_damaged_run_among_many_ends_no_report(damaged, tmp_path):
    folders = [damaged]
    for name, text in CONFIGS.items():
        folder = Path(shutil.copytree(damaged, tmp_path / name))
        (folder / ".hydra" / "config.yaml").write_text(text)
        folders.append(folder)
        refused(folder, dqn.load)
    runs, unreadable = read_runs(folders)
    assert [run.path for run in runs] == [str(damaged)]
    for folder, text in zip(folders[1:], unreadable, strict=True):
        assert text.startswith(f"{folder}")
    assert all(text.isprintable() for text in unreadable)


@pytest.mark.parametrize("leftover", [None, "an empty folder", "files without a manifest"])
def test_a_run_whose_checkpoint_is_gone(damaged, leftover):
    """It is not started again, which would replace its metrics and its result, unless that is asked for."""
    result = RunFolder(damaged).result()
    if leftover == "files without a manifest":
        (damaged / "checkpoint" / "manifest.json").unlink()
    else:
        shutil.rmtree(damaged / "checkpoint")
    if leftover == "an empty folder":
        (damaged / "checkpoint").mkdir()
    if leftover is None:
        (damaged / "status.json").unlink()
    text = refused(damaged, resume)
    assert "its checkpoint is missing" in text
    assert f"dqn.resume('{damaged}', restart=True)" in text
    resume(damaged, restart=True)
    assert Checkpoint(damaged).iteration() == 3
    assert RunFolder(damaged).result() != result


def test_restarting_is_training_again(damaged, template):
    metrics = damaged / "seed=0" / "metrics.jsonl"
    before = [json.loads(line)["train/return"] for line in metrics.read_text().splitlines()[:2]]
    assert call("resume", damaged, "--restart").code == 0
    after = [json.loads(line)["train/return"] for line in metrics.read_text().splitlines()[:2]]
    assert before == after
    assert RunFolder(damaged).result() == RunFolder(template).result()


def test_a_run_killed_in_its_first_iteration_starts_again(damaged):
    shutil.rmtree(damaged / "checkpoint")
    RunFolder(damaged).update_status(state="running", progress=None)
    assert resume(damaged) > 0


def test_a_result_that_is_not_finite(damaged, caplog):
    """It is valid JSON, and the run counts as finished."""
    RunFolder(damaged).update_status(result=float("nan"), evaluation={"0": [float("inf")]})
    json.loads((damaged / "status.json").read_text(), parse_constant=pytest.fail)
    before = tree(damaged)
    with caplog.at_level("INFO"):
        assert call("resume", damaged).code == 0
    assert tree(damaged) == before
    assert "mean evaluation return nan" in caplog.text
    assert read_record(damaged).final == {}


def test_a_policy_of_nan_is_said(damaged, caplog):
    (file,) = (damaged / "checkpoint").glob("policy-*.pt")
    state = torch.load(file)
    next(iter(state.values())).fill_(float("nan"))
    torch.save(state, damaged.parent / "part")
    replace_part(damaged, "policy", (damaged.parent / "part").read_bytes())
    assert call("evaluate", damaged, "episodes=1").code == 0
    assert "the policy of seed 0 has parameters that are not finite numbers" in caplog.text


def test_evaluating_a_run_that_cannot_be_written(damaged, caplog, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != damaged)
    before = tree(damaged)
    result = call("evaluate", damaged, "episodes=1")
    assert (result.code, tree(damaged)) == (0, before)
    assert "standard deviation" in result.text
    assert f"{damaged} cannot be written: the results are not recorded" in caplog.text
