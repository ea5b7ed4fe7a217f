"""The best policies by evaluation: each seed's own, kept beside the last, and said to be selected."""

import json
import math

import numpy as np
import pytest
import torch
from commands import call
from helpers import TINY_STEPS, make_runner, train_run

import dqn
from dqn.runner.best_policy import Best
from dqn.storage.checkpoint import Checkpoint

WORDS = [
    *(
        *TINY_STEPS,
        "runner.total_steps=1000",
        "runner.eval_period=1",
        "runner.eval_episodes=2",
        "num_seeds=2",
    ),
    *("seed=3", "agent.lr=0.05"),
]


def leaves(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2, 3, 1), value), "bias": torch.full((2, 3), value)}


def test_each_seed_keeps_its_own_first_highest():
    best = Best((3, 4))
    for iteration, scores in enumerate([(1, 5), (3, 4), (3, 7), (math.nan, 0)], 1):
        best.changed = False
        best.evaluated(leaves(iteration), np.array(scores, float)[:, None], iteration)
        assert best.changed == (iteration < 4)
    state = best.state_dict()
    assert (state["score"], state["iteration"]) == ([3, 7], [2, 3])
    for leaf in state["policy"].values():
        assert (leaf[0] == 2).all()
        assert (leaf[1] == 3).all()


def test_what_is_kept_does_not_change_with_the_network():
    best, parameters = Best((3, 4)), leaves(1)
    best.evaluated(parameters, np.ones((2, 4)), 1)
    parameters["weight"].zero_()
    assert (best.state_dict()["policy"]["weight"] == 1).all()


def test_it_is_written_only_when_it_changes(tmp_path):
    runner = make_runner(tmp_path, WORDS)
    scores = iter([(1, 1), (0, 0), (0, 2), (0, 0), (1, 2)])
    names = []
    evaluator, save = runner.evaluator, runner.checkpoint.save
    runner.evaluator = lambda policy, index, watch: (
        evaluator(policy, index),
        np.array(next(scores), float)[:, None],
    )[1]

    def saving(*arguments):
        save(*arguments)
        names.append(sorted(path.name for path in runner.checkpoint.folder.glob("best*")))

    runner.checkpoint.save = saving
    runner.run()
    assert names == [["best-1.pt"], ["best-1.pt"], ["best-3.pt"], ["best-3.pt"], ["best-3.pt"]]
    assert Checkpoint(tmp_path).load("best")["iteration"] == [1, 3]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a run of two seeds and its status."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train_run(folder, WORDS)
    return folder, json.loads((folder / "status.json").read_text())


def test_policies_of_any_size_are_read_on_resume(tmp_path, monkeypatch):
    monkeypatch.setattr("dqn.storage.checkpoint.SMALL", 0)
    train_run(tmp_path, WORDS)
    again = make_runner(tmp_path, [*WORDS, "runner.total_steps=2000"])
    assert again.best.iteration.all()


def test_the_score_is_that_of_the_metrics(trained):
    folder, status = trained
    for seed in ("3", "4"):
        lines = [
            json.loads(line) for line in (folder / f"seed={seed}" / "metrics.jsonl").read_text().splitlines()
        ]
        scores = [line["eval/return"] for line in lines if "eval/return" in line]
        told = status["best"]["seeds"][seed]
        assert told == {"mean_return": max(scores), "iteration": scores.index(max(scores)) + 1}
    assert "biased" in status["best"]["note"]


def test_evaluating_the_best(trained):
    folder, status = trained
    last, best = (call("evaluate", folder, "episodes=2", f"policy={which}") for which in ("last", "best"))
    assert last.code == best.code == 0
    assert "selected" not in last.text
    assert "selected: the policy of each seed's highest periodic evaluation, so biased upwards" in best.text
    written = json.loads((folder / "evaluation.json").read_text())
    assert "biased" in written["selected"]
    assert written["policy"] == "best"
    assert written["iteration"] == {seed: one["iteration"] for seed, one in status["best"]["seeds"].items()}


def test_the_best_policies_play_as_they_did(trained, monkeypatch):
    """On the streams of the periodic evaluation they reach the very scores by which they were selected."""
    from dqn.config import evaluate as evaluation
    from dqn.config.options import EvaluateOptions

    folder, status = trained
    original = evaluation.Evaluator
    monkeypatch.setattr(evaluation, "Evaluator", lambda **k: original(**k | {"role": "periodic evaluation"}))
    for seed, one in status["best"]["seeds"].items():
        again = evaluation.evaluate_run(
            folder, EvaluateOptions(episodes=2, policy="best", stream=one["iteration"]), []
        )
        assert again.seed_means[int(seed)] == one["mean_return"]


def test_loading_the_best(trained):
    folder, status = trained
    stored = Checkpoint(folder).load("best")["policy"]
    for k, seed in enumerate((3, 4)):
        best = dqn.load(folder, seed=seed, policy="best")
        assert best.iteration == status["best"]["seeds"][str(seed)]["iteration"]
        assert "biased upwards" in best.selected
        for name, leaf in best.policy.state_dict().items():
            assert torch.equal(leaf[0], stored[name][k])
    last = dqn.load(folder, seed=3)
    assert (last.iteration, last.selected) == (5, None)


def test_exporting_the_best(trained, tmp_path):
    folder, status = trained
    file = tmp_path / "policy.pt2"
    result = call("export", folder, file, "seed=4", "policy=best")
    assert result.code == 0, result.text
    assert f"seed 4 after iteration {status['best']['seeds']['4']['iteration']}\n" in result.text
    assert "selected: the policy of each seed's highest periodic evaluation" in result.text
    obs = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    values = torch.export.load(file).module()(torch.from_numpy(obs)).numpy(force=True)
    expected = {which: dqn.load(folder, seed=4, policy=which).q_values(obs) for which in ("best", "last")}
    np.testing.assert_allclose(values, expected["best"], rtol=1e-4, atol=1e-5)
    assert not np.allclose(values, expected["last"], rtol=1e-2)
    assert "selected" not in call("export", folder, file, "seed=4").text


def test_there_is_none_without_periodic_evaluation(finished_run):
    result = call("evaluate", finished_run, "policy=best")
    assert result.code == 1
    assert "policy=best: the run has had no periodic evaluation" in result.text
    with pytest.raises(dqn.UserError, match="policy=best: the run has had no periodic evaluation"):
        dqn.load(finished_run, policy="best")
    assert json.loads((finished_run / "status.json").read_text())["best"] is None


def test_another_policy(finished_run):
    result = call("evaluate", finished_run, "policy=worst")
    assert result.code == 1
    assert "policy=worst: should be 'last' or 'best'" in result.text
    with pytest.raises(dqn.UserError, match="policy=worst: should be 'last' or 'best'"):
        dqn.load(finished_run, policy="worst")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_run_on_cuda_resumes_with_its_best_policy(tmp_path):
    overrides = [*TINY_STEPS, "device=cuda", "runner.eval_period=1", "runner.eval_episodes=2"]
    make_runner(tmp_path, [*overrides, "runner.total_steps=200"]).run()
    runner = make_runner(tmp_path, overrides)
    runner.run()
    assert runner.iteration == 2
