"""Evaluation: whole episodes, all counted alike, and nothing else touched."""

from functools import partial

import numpy as np
import pytest
import torch
from commands import call
from envs import Recorder  # noqa: F401  registers the environments

import dqn
from dqn.env import Environments
from dqn.runner.evaluator import MAX_COLUMNS, Evaluator


class Constant:
    """A policy that always takes one action."""

    def __init__(self, action: int) -> None:
        self.action = action

    def actor(self, **random_numbers):
        return self

    def act(self, obs, epsilon, playing):
        return np.full(obs.shape[:2], self.action)


def evaluator(episodes: int, id: str = "CartPole-v1", seeds=(0, 1)) -> Evaluator:
    make_env = partial(
        Environments,
        **{"id": id, "module": None, "kwargs": {}, "vectorization": "sync", "reward_scale": 0.01},
        **{"scale_bytes": True},
        **{"reward_clip": 0.1, "time_limit_is_terminal": True, "wrappers": [], "training_wrappers": []},
    )
    return Evaluator(make_env=make_env, seeds=seeds, episodes=episodes, epsilon=0.0, role="test")


@pytest.mark.parametrize("episodes", [1, 7, MAX_COLUMNS + 5])
def test_counts_whole_episodes_of_raw_returns(episodes):
    returns = evaluator(episodes)(Constant(1), 0)
    assert returns.shape == (2, episodes)
    assert returns.min() >= 8  # an unbalanced pole takes eight steps to fall at least
    assert returns.max() <= 12
    assert np.array_equal(returns, np.round(returns))


def test_short_episodes_are_not_favoured():
    """Returns of the same columns, played one by one."""
    together = evaluator(MAX_COLUMNS, "Chain-v0", seeds=(3,))(Constant(1), 5)
    env = Environments(
        **{"id": "Chain-v0", "module": None, "kwargs": {}, "vectorization": "sync", "reward_scale": 1.0},
        **{"reward_clip": None, "time_limit_is_terminal": True, "num_envs": MAX_COLUMNS, "seeds": (3,)},
        **{"wrappers": [], "training_wrappers": [], "training": False, "scale_bytes": True},
        role="test",
    )
    env.reset(5)
    returns, done = np.zeros(MAX_COLUMNS), np.zeros((1, MAX_COLUMNS), bool)
    while not done.all():
        step = env.step(np.ones((1, MAX_COLUMNS), int))
        returns += step.raw_reward[0] * ~done[0]
        ended = step.terminated | step.truncated
        done |= ended
        if ended.any():
            env.restart(ended)
    env.close()
    np.testing.assert_allclose(together[0], returns)


def test_place_and_seed_choose_the_episodes():
    play = evaluator(5)
    assert np.array_equal(play(Constant(0), 1), play(Constant(0), 1))
    assert not np.array_equal(evaluator(20)(Constant(0), 1), evaluator(20)(Constant(0), 2))
    assert np.array_equal(evaluator(5, seeds=(1,))(Constant(0), 1)[0], play(Constant(0), 1)[1])


def test_a_run_of_a_machine_with_cuda(finished_run, tmp_path, monkeypatch):
    """Its policies compute on what is there; only training needs the device that it had."""
    before = dqn.load(finished_run).q_values(np.ones(4))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = finished_run / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("device: auto", "device: cuda"))
    assert "mean" in call("evaluate", finished_run, "episodes=1").text
    assert "greatest difference" in call("export", finished_run, tmp_path / "policy.pt2").text
    np.testing.assert_array_equal(dqn.load(finished_run).q_values(np.ones(4)), before)
    result = call("resume", finished_run, "runner.total_episodes=6")
    assert result.code == 1
    assert "device=cuda: should be auto or cpu: this machine has no usable CUDA device" in result.text
