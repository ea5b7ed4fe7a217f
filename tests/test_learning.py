"""Learning on a small MDP whose values are known; and faults that must be seen by it."""

import numpy as np
import pytest
import torch
from envs import Chain
from helpers import make_runner

GAMMA = 0.9
WORDS = [
    *("env.id=Chain-v0", "env.module=envs", "env.num_envs=8", "env.reward_scale=1"),
    *("env.time_limit_is_terminal=false", f"agent.gamma={GAMMA}", "agent.lr=2e-3"),
    *("runner=steps", "runner.total_steps=32000", "runner.iteration_length=16000", "runner.eval_episodes=0"),
    *("runner.learning_starts=4000", "runner.train_period=16", "runner.target_period=400"),
    *("runner.batch_size=512", "schedule=constant", "schedule.value=1", "num_seeds=2"),
]


def learned(tmp_path, words=(), change=lambda runner: None) -> np.ndarray:
    """Return the action values of all states [K, states, actions] after training."""
    runner = make_runner(tmp_path, [*WORDS, *words])
    change(runner)
    runner.run()
    states = np.tile(np.arange(Chain.STATES, dtype=np.uint8), (2, 1))
    return runner.agent.policy.q_values(states)


def error(q: np.ndarray) -> float:
    """Return the worst relative error of a state's value, over seeds."""
    best = Chain.optimal_values(GAMMA).max(1)
    return float(np.abs(q.max(-1) / best - 1).max())


@pytest.mark.parametrize(
    "words",
    [["agent=dqn"], ["agent=double"], ["agent=double", "runner.target_tau=0.2", "runner.target_period=80"]],
    ids=["dqn", "double", "polyak"],
)
def test_values_are_those_of_value_iteration(tmp_path, words):
    assert error(learned(tmp_path, words)) < 0.05


def test_a_target_without_discount_fails(tmp_path):
    def forget_termination(runner):
        sample = runner.memory.sample

        def forgetful(size):
            whole = sample(size)
            wrong = torch.full_like(whole.batch.discount, GAMMA)
            return whole._replace(batch=whole.batch._replace(discount=wrong))

        runner.memory.sample = forgetful

    assert error(learned(tmp_path, change=forget_termination)) > 0.05


def test_a_wrong_last_observation_fails(tmp_path):
    """Episodes are cut after four steps; the reset observation in place of the last one must show."""

    def confuse(runner):
        push = runner.memory.push
        runner.memory.push = lambda row: push(
            row._replace(next_obs=np.where(row.truncated, np.uint8(Chain.STATES - 1), row.next_obs))
        )

    words = ["+env.kwargs.max_episode_steps=4"]
    assert error(learned(tmp_path / "right", words)) < 0.05
    assert error(learned(tmp_path / "wrong", words, confuse)) > 0.05
