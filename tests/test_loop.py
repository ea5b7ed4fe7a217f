"""The whole loop against a DQN of one screen, written independently and fed the same streams."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_runner
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
