"""Published results: verdicts on our runs, recipes, and the printed table."""

import json
import statistics
import sys

import pytest
import yaml
from commands import load_script
from helpers import config_of
from published import FILE, Published, Row, compare, published_interval, read_published, width
from pydantic import ValidationError
from sweeps import base, make_run

from dqn.stats import Estimate

PUBLISHED = read_published()
ROWS = [(name, row) for name, table in PUBLISHED.tables.items() for row in table.rows]
REPEATED = sorted({(" ".join(row.overrides), row.env, row.steps) for _, row in ROWS if row.overrides})
reproduce = load_script("reproduce")


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ((90, 80, 95), (90, 85, 95), "same"),
        ((90, 85, 94), (100, 94, 106), "same"),
        ((90, 85, 93.9), (100, 94, 106), "worse"),
        ((90, 85, 95), (80, 75, 84.9), "better"),
        ((90, 80, 100), (90, 80, 100), "same"),
        ((90, 79.9, 100), (90, 90, 90), "undecided"),
        ((190, 170, 195), (10, 10, 10), "better"),
        ((90, 90, 90), (90, 79, 101), "undecided"),
        ((120, 115, 125), (90, 79, 101), "better"),
        ((200, 200, 200), (200, 200, 200), "same"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_verdicts_where_returns_are_0_to_200(ours, theirs, verdict):
    assert compare(Estimate(*ours), Estimate(*theirs), (0, 200)) == verdict


def test_the_interval_of_a_published_number():
    spread = published_interval(100.0, spread=10.0, runs=4, scores=[0.0, 50.0])
    assert spread == (100, 90, 110), "two standard errors of the mean of four"
    scores = [70.0, 80.0, 90.0]
    single = published_interval(100.0, spread=None, runs=1, scores=scores)
    assert single == (100, 80, 120), "one run varies like each of ours, with a standard deviation of 10"
    four = published_interval(100.0, spread=None, runs=4, scores=scores)
    assert width(four) == pytest.approx(width(single) / 2)
    assert published_interval(500.0, spread=None, runs=1, scores=[500.0, 500.0]) == (500, 500, 500)


@pytest.mark.parametrize(("overrides", "env", "steps"), REPEATED, ids=[name for name, _, _ in REPEATED])
def test_a_run_has_the_environment_and_the_steps_of_its_row(overrides, env, steps):
    config = config_of(overrides.split())
    assert (config["env"]["id"], config["runner"]["total_steps"]) == (env, steps)
    assert config["runner"]["eval_episodes"] == 100
    assert config["runner"]["eval_epsilon"] == 0


def test_every_environment_has_a_range_that_its_results_are_in():
    for name, row in ROWS:
        low, high = PUBLISHED.ranges[row.env]
        assert name == "own" or low <= row.value <= high


def test_a_published_number_has_a_recipe_or_a_reason():
    fields = {"env": "CartPole-v1", "agent": "DQN", "steps": 1, "value": 1.0}
    for wrong in ({}, {"overrides": ["x"], "missing": "y"}, {"overrides": ["x"], "overides": ["y"]}):
        with pytest.raises(ValidationError):
            Row.model_validate(fields | wrong)
    stored = yaml.safe_load(FILE.read_text())
    stored["tables"]["zoo"]["score"] = "best"
    with pytest.raises(ValidationError, match="evaluation"):
        Published.model_validate(stored)


def test_the_printed_table(tmp_path):
    table = PUBLISHED.tables["cleanrl"]
    row = next(row for row in table.rows if row.agent == "dqn.py" and row.env == "Acrobot-v1")
    run = make_run(tmp_path / "run", base("env=acrobot", "num_seeds=3"), level=-90.0, episodes=120)
    runs = {"+experiment=[cleanrl/dqn,cleanrl/acrobot]": run}
    lines = list(reproduce.lines_of([row], table, runs, PUBLISHED.ranges))
    scores = []
    for path in sorted(run.glob("seed=*/metrics.jsonl")):
        returns = [json.loads(line)["train/return"] for line in path.read_text().splitlines()]
        scores.append(statistics.fmean(returns[20:]))
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells[:4] == ["Acrobot-v1", "dqn.py", "`+experiment=[cleanrl/dqn,cleanrl/acrobot]`", "500,000"]
    assert cells[4].startswith(f"{statistics.fmean(scores):.1f} [")
    assert cells[6:] == [f"{min(scores):.1f} to {max(scores):.1f}", "-91.5 ± 7.2, 3 runs", "better"]


def test_rows_without_a_recipe_are_listed_with_the_reason(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["reproduce.py", "slm_lab"])
    reproduce.main()
    output = capsys.readouterr().out
    table = PUBLISHED.tables["slm_lab"]
    assert output.count("is not repeated: ") == len(table.rows) == 6
    assert all(row.missing in output for row in table.rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nosuch", "invalid choice: 'nosuch'"),
        ("cleanrl env=cartpole", "not in this table: env=cartpole; it has +experiment=cleanrl/dqn, "),
        ("cleanrl --jobs 0", "'0' should be a whole number, at least 1"),
    ],
)
def test_mistakes(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["reproduce.py", *arguments.split()])
    with pytest.raises(SystemExit) as exit:
        reproduce.main()
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.process
def test_a_finished_run_is_only_read_and_a_failure_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "SEEDS", 2)
    overrides = ["runner.total_episodes=2", "runner.iteration_length=2", "runner.eval_episodes=3"]
    (run,) = reproduce.train_all([overrides], tmp_path, 1)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert len(reproduce.final_scores(run)) == len(reproduce.training_scores(run)) == 2
    assert reproduce.train_all([overrides], tmp_path, 1) == [run]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    with pytest.raises(SystemExit, match=r"agent\.lr=-1"):
        reproduce.train_all([["agent.lr=-1"]], tmp_path / "bad", 1)
