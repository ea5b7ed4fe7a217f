"""The picture of a learning curve: its numbers, and that it is painted for both clocks."""

import json
import struct
import sys

import numpy as np
import pytest
from commands import load_script
from helpers import TINY_EPISODES, TINY_STEPS, config_of

from dqn.config.launch import launch
from dqn.stats import interquartile_mean
from dqn.storage.folder import RunFolder

curve = load_script("curve")


def test_windows(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [(1, 4.0), (10, 6.0), (11, 1.0), (31, 7.0), (41, 100.0)]
    texts = [json.dumps({"step": step, "train/return": value}) for step, value in lines]
    file.write_text("\n".join([*texts, json.dumps({"step": 12, "train/loss": 0.5})]))
    means = curve.window_means(file, "step", np.linspace(0, 40, 5))
    np.testing.assert_array_equal(means, [5, 1, np.nan, 7])
    file.write_text("")
    assert np.isnan(curve.window_means(file, "step", np.linspace(0, 40, 5))).all()


def test_summary():
    scores = np.random.default_rng(0).normal(100, 20, size=10)
    means = np.array([scores, np.full(10, 3.0), np.full(10, np.nan), [*scores[:9], np.nan]]).T
    middle, low, high = curve.summarize(means).T
    assert middle[0] == interquartile_mean(scores)
    assert low[0] < middle[0] < high[0]
    assert (low[1], middle[1], high[1]) == (3, 3, 3)
    assert np.isnan(middle[2])
    assert middle[3] == interquartile_mean(scores[:9])


@pytest.mark.parametrize("words", [TINY_STEPS, TINY_EPISODES], ids=["steps", "episodes"])
def test_picture(tmp_path, monkeypatch, words):
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    launch(config_of([*words, "num_seeds=2"]), RunFolder(tmp_path), words, [])
    picture = tmp_path / "curve.png"
    monkeypatch.setattr(sys, "argv", ["curve.py", str(tmp_path), str(picture), "--windows", "4"])
    curve.main()
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (1200, 600)


def test_mistakes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["curve.py", str(tmp_path / "nowhere"), "curve.png"])
    with pytest.raises(SystemExit, match="nowhere: not a run folder"):
        curve.main()
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_config(config_of(TINY_STEPS), [])
    (run.path / "seed=0").mkdir()
    (run.path / "seed=0" / "metrics.jsonl").touch()
    for words, text in (
        (["p.xyz"], "p.xyz: should end in .png"),
        ([str(tmp_path / "no" / "p.png")], "no such folder"),
        (["p.png", "--windows", "0"], "--windows 0: should be at least 1"),
        (["p.png"], "no episode has ended there yet"),
    ):
        monkeypatch.setattr(sys, "argv", ["curve.py", str(run.path), *words])
        with pytest.raises(SystemExit, match=text):
            curve.main()
