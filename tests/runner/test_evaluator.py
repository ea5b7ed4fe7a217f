"""Evaluation: whole episodes, all counted alike, and nothing else touched."""

from functools import partial

import numpy as np
import pytest
import torch
from commands import call
from envs import ENV, Counting, make_environments

import dqn
from dqn.env import Environments
from dqn.runner.evaluator import Evaluator

NUM_ENVS = 8


class Constant:
    """A policy that always takes one action."""

    def __init__(self, action: int) -> None:
        self.action = action

    def actor(self, **random_numbers):
        return self

    def start(self, where):
        pass

    carry = None

    def acted(self, action, reward):
        pass

    def act(self, obs, epsilon, playing, mask):
        return np.full(obs.shape[:2], self.action)


def evaluator(episodes: int, id: str = "CartPole-v1", seeds=(0, 1), **changes) -> Evaluator:
    limits = {"num_envs": changes.pop("num_envs", NUM_ENVS), "max_steps": changes.pop("max_steps", None)}
    scaled = {"reward_scale": 0.01, "reward_clip": 0.1}
    make_env = partial(Environments, **ENV | {"id": id} | scaled | changes)
    return Evaluator(make_env=make_env, seeds=seeds, episodes=episodes, epsilon=0.0, role="test", **limits)


@pytest.mark.parametrize("episodes", [1, 7, NUM_ENVS + 5])
def test_counts_whole_episodes_of_raw_returns(episodes):
    returns = evaluator(episodes)(Constant(1), 0)
    assert returns.shape == (2, episodes)
    assert returns.min() >= 8  # an unbalanced pole takes eight steps to fall at least
    assert returns.max() <= 12
    assert np.array_equal(returns, np.round(returns))


def test_short_episodes_are_not_favoured():
    """Returns of the same columns, played one by one."""
    together = evaluator(NUM_ENVS, "Chain-v0", seeds=(3,))(Constant(1), 5)
    env = make_environments("Chain-v0", num_envs=NUM_ENVS, seeds=(3,), training=False, role="test")
    env.reset(5)
    returns, done = np.zeros(NUM_ENVS), np.zeros((1, NUM_ENVS), bool)
    while not done.all():
        step = env.step(np.ones((1, NUM_ENVS), int))
        returns += step.raw_reward[0] * ~done[0]
        ended = step.terminated | step.truncated
        done |= ended
        if ended.any():
            env.restart(ended)
    env.close()
    np.testing.assert_allclose(together[0], returns)


@pytest.mark.parametrize("episodes", [3, NUM_ENVS + 3])
def test_endless_episodes_are_cut(episodes, caplog):
    """In every round, all of them: the next round starts new ones."""
    returns = evaluator(episodes, "Counting-v0", max_steps=5)(Constant(0), 0)
    assert returns.tolist() == [[1 + 2 + 3 + 4 + 5] * episodes] * 2
    played = 2 * (episodes if episodes < NUM_ENVS else 2 * NUM_ENVS)
    (text,) = caplog.messages
    assert f"runner.eval_max_steps=5 cut {played} of {played} evaluation episodes" in text
    assert "env.max_episode_steps" in text


def test_only_endless_episodes_are_cut(caplog):
    """Those of even seeds end before the limit."""
    whole = evaluator(6, "Counting-v0", num_envs=2, kwargs={"short": 3}, max_steps=5)(Constant(0), 0)
    assert set(whole.ravel().tolist()) == {6, 15}
    assert f"cut {np.count_nonzero(whole == 15)} of 12 evaluation episodes" in caplog.text
    caplog.clear()
    assert evaluator(6, "Counting-v0", max_episode_steps=5, max_steps=5)(Constant(0), 0).min() == 15
    assert caplog.messages == []


@pytest.mark.parametrize(("num_envs", "alive"), [(1, 2), (3, 6), (99, 14)])
def test_few_environments_live_at_once(num_envs, alive):
    Counting.most = 0
    returns = evaluator(7, "Counting-v0", num_envs=num_envs, max_episode_steps=2)(Constant(0), 0)
    assert returns.tolist() == [[3] * 7] * 2
    assert (Counting.most, Counting.alive) == (alive, 0)


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
