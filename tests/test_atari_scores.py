"""Human-normalised scores: by hand, in evaluations and in reports."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sweeps import base, make_run

from dqn.atari_scores import GAMES, players_of
from dqn.config.evaluate import Evaluation
from dqn.config.options import EvaluateOptions
from dqn.report.analysis import analyse
from dqn.report.read import read_record
from dqn.report.settings import sort_runs
from dqn.report.tables import scores_table


def test_random_play_scores_0_and_the_human_1():
    pong = players_of("Atari/Pong-v0")
    assert pong == players_of("ALE/Pong-v5") == (-20.7, 14.6)
    assert [pong.normalized(value) for value in pong] == [0, 1]
    assert pong.normalized(-9.7) == pytest.approx(11 / 35.3)
    assert len(GAMES) == 26
    assert all(players.human > players.random for players in GAMES.values())


@pytest.mark.parametrize(
    "id", ["CartPole-v1", "MinAtar/breakout-v1", "Atari/Tetris-v0", "Pong-v0", "my:Atari/Pong-v0"]
)
def test_other_environments_have_none(id):
    assert players_of(id) is None


def evaluation(env: str) -> Evaluation:
    return Evaluation(
        folder=Path("run"),
        env=env,
        options=EvaluateOptions(),
        returns={0: [10.0, 20.0], 1: [30.0, 40.0]},
        iterations={0: 1, 1: 1},
        selected=None,
        filmed=None,
    )


def test_an_evaluation_has_the_score_of_its_mean():
    known, unknown = evaluation("Atari/Breakout-v0"), evaluation("Breakout-v0")
    assert known.content()["human_normalized"] == pytest.approx((25 - 1.7) / (30.5 - 1.7))
    assert "\n  human-normalised 0.809 (0: random play, 1.7; 1: a human, 30.5)\n" in str(known)
    assert unknown.human_normalized is None
    assert "human_normalized" not in unknown.content()
    assert "human" not in str(unknown)


def test_an_evaluation_counts_its_episodes():
    few = replace(evaluation("CartPole-v1"), options=EvaluateOptions(episodes=1), returns={0: [10.0]})
    assert str(few).startswith("1 episode of CartPole-v1 after iteration 1")
    assert "CartPole-v1, 1 episode per seed: seed 0: 10.00" in repr(few)
    assert str(evaluation("CartPole-v1")).startswith("4 episodes of ")


def test_a_report_has_the_scores_and_their_intervals(tmp_path):
    config = base("num_seeds=2")
    for name, id in (("known", "Atari/Breakout-v0"), ("unknown", "Tetris-v0")):
        config["env"]["id"] = id
        make_run(tmp_path / name, config, level=20.0)
    known, unknown = (
        scores_table(analyse(task))
        for task in sort_runs([read_record(tmp_path / n) for n in ("known", "unknown")])
    )
    assert [name for name in known.header if name not in unknown.header] == ["human-normalised [95 %]"]
    (row,), column = known.rows, known.header.index("human-normalised [95 %]")
    returns, scores = (
        np.array(re.findall(r"-?[\d.]+", row[i]), float)
        for i in (known.header.index("evaluation return [95 %]"), column)
    )
    np.testing.assert_allclose(scores, (returns - 1.7) / 28.8, atol=0.003)
    assert len(row) == len(known.header)
    assert known.numbers == {0, *range(3, 10)}
