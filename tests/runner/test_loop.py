"""The whole loop against a DQN of one screen, written independently and fed the same streams."""

from pathlib import Path

import numpy as np
import pytest
import torch
from envs import Counting
from helpers import TINY_STEPS, make_runner
from reference import dqn_losses

from dqn.types import Update

STARTS, PERIOD, ITERATION = 200, 50, 300


def losses_of_the_runner(folder: Path, words: list[str]) -> np.ndarray:
    runner = make_runner(folder, words)
    losses: list[float] = []
    record = runner.logger.update

    def update(update: Update) -> None:
        losses.append(float(update.loss[0]))
        record(update)

    runner.logger.update = update
    runner.run()
    return np.array(losses)


@pytest.mark.parametrize(
    ("agent", "n_step", "terminal_limit"), [("dqn", 1, False), ("dqn", 1, True), ("double", 3, False)]
)
def test_losses_equal_those_of_the_naive_loop(tmp_path, agent, n_step, terminal_limit):
    words = [
        *("runner=steps", f"agent={agent}", "seed=5", f"memory.reader.n_step={n_step}", "agent.gamma=0.97"),
        *(
            "runner.total_steps=1200",
            f"runner.iteration_length={ITERATION}",
            f"runner.learning_starts={STARTS}",
        ),
        *("runner.train_period=1", f"runner.target_period={PERIOD}", "runner.batch_size=64"),
        *("runner.target_tau=1", "agent/lr_schedule=constant"),
        *("schedule=constant", "schedule.value=0.2", "env.reward_scale=1", "runner.eval_episodes=0"),
        *(f"env.time_limit_is_terminal={terminal_limit}", "network.torso.hidden_sizes=[32]"),
    ]
    ours = losses_of_the_runner(tmp_path, words)
    torch.set_num_threads(1)
    settings = {"hidden": 32, "batch": 64, "lr": 5e-4, "gamma": 0.97, "epsilon": 0.2, "n_step": n_step}
    periods = {"steps": 1200, "iteration_length": ITERATION, "starts": STARTS, "target_period": PERIOD}
    variant = {"double": agent == "double", "terminal_limit": terminal_limit}
    naive = np.array(list(dqn_losses(seed=5, **settings, **periods, **variant)))
    assert ours.size > 1000
    np.testing.assert_allclose(ours, naive, rtol=1e-6)


def test_one_environment_lives_at_a_time(tmp_path):
    """Training's are closed before those of an evaluation are made."""
    Counting.most = 0
    words = ["env=base", "env.id=Counting-v0", "+env.kwargs.strict=true", "env.max_episode_steps=9"]
    words += ["runner.eval_period=1", "runner.eval_episodes=2", "runner.eval_num_envs=1"]
    runner = make_runner(tmp_path, [*TINY_STEPS, "runner.learning_starts=400", *words])
    runner.run()
    assert runner.counters.evaluation == {"0": [45.0, 45.0]}
    assert (Counting.most, Counting.alive) == (1, 0)


@pytest.mark.parametrize("num_envs", [1, 4])
def test_updates_and_syncs_are_done_as_often_as_due(tmp_path, num_envs):
    """400 steps, an update every 2 from the 50th on, a sync every 5, whatever the number of environments."""
    words = [
        *(
            "runner=steps",
            f"env.num_envs={num_envs}",
            "runner.total_steps=400",
            "runner.iteration_length=200",
        ),
        *(
            "runner.learning_starts=49",
            "runner.train_period=2",
            "runner.target_period=5",
            "runner.batch_size=8",
        ),
        *("runner.target_tau=0.1", "runner.eval_episodes=0", "network.torso.hidden_sizes=[4]"),
    ]
    runner = make_runner(tmp_path, words)
    calls: list[str] = []
    update, sync = runner.agent.update, runner.agent.sync_target

    def updating(sample, tick):
        calls.append("update")
        return update(sample, tick)

    def syncing(tau):
        calls.append("sync")
        sync(tau)

    runner.agent.update, runner.agent.sync_target = updating, syncing
    runner.run()
    assert calls.count("sync") == 80
    assert calls.count("update") == (400 - 50) // 2 + 1
    assert calls[-4:] == ["update", "update", "update", "sync"]  # at 396, 398, 400 and 400


def test_an_episode_shorter_than_n_steps_does_not_start_a_seed_earlier(tmp_path):
    """With n steps learning starts when a sample is sure to exist, so alone as in a stack."""
    words = [
        *("runner=steps", "runner.total_steps=60", "runner.iteration_length=30", "runner.learning_starts=0"),
        *(
            "runner.train_period=1",
            "memory.reader.n_step=10",
            "runner.batch_size=8",
            "runner.eval_episodes=0",
        ),
        *("+env.kwargs.max_episode_steps=4", "network.torso.hidden_sizes=[4]"),
    ]
    runner = make_runner(tmp_path, words)
    runner.run()
    assert runner.counters.updates == 60 - 9
