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

from dqn.atari_scores import players_of
from dqn.stats import Estimate, interquartile_mean

PUBLISHED = read_published()
reproduce = load_script("reproduce")
ROWS = [(table, row) for table in PUBLISHED.tables.values() for row in table.rows]
SETTINGS = {
    " ".join(settings): (table.score, row.env, row.steps)
    for table in PUBLISHED.tables.values()
    for row in {row.overrides[0]: row for row in table.rows if row.overrides}.values()
    for settings in reproduce.settings_of([row], table).values()
}
"""The run of one row of each recipe; the games differ in env.game alone."""
REPEATED = [(name, *SETTINGS[name]) for name in SETTINGS if "runner.total_steps=" not in name]
"""Those whose length is the recipe's; the others give it as an override."""


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


@pytest.mark.parametrize(("overrides", "score", "env", "steps"), sorted(REPEATED), ids=str)
def test_a_run_has_the_environment_and_the_steps_of_its_row(overrides, score, env, steps):
    config = config_of(overrides.split())
    assert (config["env"]["id"], config["runner"]["total_steps"]) == (env, steps)
    if score == "evaluation":
        assert config["runner"]["eval_episodes"] == 100
        assert config["runner"]["eval_epsilon"] == (0.001 if env.startswith("Atari/") else 0)


def test_every_environment_has_a_range_that_its_results_are_in():
    for _, row in ROWS:
        if row.value is not None and not row.env.startswith("Atari/"):  # the human's scores can be surpassed
            low, high = PUBLISHED.range_of(row.env)
            assert low <= row.value <= high
    assert PUBLISHED.range_of("Atari/Pong-v0") == (-20.7, 14.6)
    assert all(PUBLISHED.range_of(row.env) for _, row in ROWS if row.value is not None)


def test_a_table_of_games():
    table = PUBLISHED.tables["atari_dopamine"]
    row = next(row for row in table.rows if (row.agent, row.env) == ("QR-DQN", "Atari/Breakout-v0"))
    breakout = [one for one in table.rows if one.overrides == row.overrides]
    assert [(one.steps, one.value, one.spread) for one in breakout[:2]] == [
        (250_000, 4.5, 0.1),
        (500_000, 18.7, 0.6),
    ]
    name = "+experiment=atari_dopamine/qrdqn env.game=Breakout"
    settings = reproduce.settings_of(breakout[:2], table)
    assert settings == {name: [*name.split(), "runner.total_steps=500000"]}


@pytest.mark.parametrize(
    ("name", "agent", "published"), [("atari_100k", "SPR", 0.616), ("atari_100k_paper", "DER", 0.285)]
)
def test_the_mean_over_all_games_is_the_published_one(name, agent, published):
    scores = [row for row in PUBLISHED.tables[name].rows if row.agent == agent]
    assert len(scores) == 26
    mean = statistics.fmean(players_of(row.env).normalized(row.value) for row in scores)
    assert mean == pytest.approx(published, abs=5e-4)


def test_nothing_is_concluded_from_an_unknown_number_of_runs(tmp_path):
    table = PUBLISHED.tables["atari_100k_paper"]
    row = next(row for row in table.rows if row.env == "Atari/Boxing-v0")
    config = base("num_seeds=2")
    config["env"]["id"] = row.env
    run = make_run(tmp_path / "run", config, level=10.0)
    cells = reproduce.cells(row, table, [run], PUBLISHED)
    assert cells[7:9] == ["0.2, unknown runs", "undecided"]


def test_the_score_of_an_iteration_is_that_of_its_training_episodes(tmp_path):
    table = PUBLISHED.tables["atari_dopamine"]
    first, second, third = [row for row in table.rows if row.overrides == table.rows[0].overrides][:3]
    config = base("num_seeds=2", "runner.total_steps=500000")
    config["env"]["id"] = first.env
    overrides = [*first.overrides, "num_seeds=2"]
    run = make_run(tmp_path / "run", config, overrides=overrides, level=-20.0, reached=1.0)
    returns = [json.loads(line) for line in (run / "seed=0" / "metrics.jsonl").read_text().splitlines()]
    expected = [
        statistics.fmean(line["train/return"] for line in returns if low < line["step"] <= low + 250_000)
        for low in (0, 250_000)
    ]
    assert [reproduce.scores_of(run, row, table)[0] for row in (first, second)] == pytest.approx(expected)
    assert reproduce.scores_of(run, third, table) == {}, "the run has not got that far"
    runs = reproduce.runs_of([first, second, third], [tmp_path])
    assert runs == {" ".join(first.overrides): [run]}
    lines = list(reproduce.lines_of([first, second, third], table, runs, PUBLISHED))
    assert [line.count("—") for line in lines[-3:]] == [0, 0, 6]


def test_the_scores_of_all_games_are_pooled(tmp_path):
    table = PUBLISHED.tables["atari_100k"]
    rows = [
        row for row in table.rows if row.env in ("Atari/Pong-v0", "Atari/Boxing-v0") and row.agent == "DER"
    ]
    runs = {}
    for row in rows:
        config = base("num_seeds=2")
        config["env"]["id"] = row.env
        level = players_of(row.env).human
        runs[" ".join(row.overrides)] = [make_run(tmp_path / row.env, config, level=level)]
    lines = list(reproduce.lines_of(rows, table, runs, PUBLISHED))
    (ours,) = [line for line in lines if line.startswith("- ours, DER: ")]
    scores = [
        players_of(row.env).normalized(score)
        for row in rows
        for score in reproduce.all_scores(row, table, runs[" ".join(row.overrides)])
    ]
    assert f"{interquartile_mean(scores):.3f} [" in ours
    assert ours.endswith("over 2 games")
    assert "- published, SPR: 0.337 over 26 games" in lines


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
    lines = list(reproduce.lines_of([row], table, {name: [one] for name, one in runs.items()}, PUBLISHED))
    scores = []
    for path in sorted(run.glob("seed=*/metrics.jsonl")):
        returns = [json.loads(line)["train/return"] for line in path.read_text().splitlines()]
        scores.append(statistics.fmean(returns[20:]))
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells[:4] == ["Acrobot-v1", "dqn.py", "`+experiment=[cleanrl/dqn,cleanrl/acrobot]`", "500,000"]
    assert cells[4].startswith(f"{statistics.fmean(scores):.1f} [")
    assert cells[6:9] == [f"{min(scores):.1f} to {max(scores):.1f}", "-91.5 ± 7.2, 3 runs", "better"]
    assert cells[9:] == ["—", "0.01"], "90 CPU seconds of three seeds"


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
def test_a_finished_run_is_only_read_and_a_failure_is_reported(tmp_path):
    overrides = ["runner.total_episodes=2", "runner.iteration_length=2", "runner.eval_episodes=3"]
    (run,) = reproduce.train_all([overrides], tmp_path, 1, 2)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for name in ("cleanrl", "zoo"):
        table = PUBLISHED.tables[name]
        assert len(reproduce.scores_of(run, table.rows[0], table)) == 2
    assert reproduce.train_all([overrides], tmp_path, 1, 2) == [run]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    with pytest.raises(SystemExit, match=r"agent\.lr=-1"):
        reproduce.train_all([["agent.lr=-1"]], tmp_path / "bad", 1, 2)
