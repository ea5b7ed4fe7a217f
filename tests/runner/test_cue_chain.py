"""The cue chain: what has to be remembered is learned from windows that hold it, and from no others."""

from pathlib import Path

import numpy as np
import pytest
from helpers import make_runner

WORDS = [
    *("env=cue_chain", "env.kwargs.steps=10", "network/core=gru", "agent=double", "agent.lr=1e-3"),
    *("runner=steps", "runner.iteration_length=500", "runner.learning_starts=200", "runner.train_period=4"),
    *("runner.batch_size=32", "runner.target_period=400", "runner.target_tau=1"),
    *(
        "runner.eval_episodes=100",
        "runner.eval_period=0",
        "network.torso.hidden_sizes=[32]",
        "agent/lr_schedule=constant",
    ),
    *("schedule.duration=1000", "memory.reader.n_step=1"),
]


def greedy_returns(folder: Path, *words: str) -> np.ndarray:
    """Return the mean return of each seed's greedy episodes after training; at best 1, 0 without memory."""
    runner = make_runner(folder, [*WORDS, *words])
    runner.run()
    assert runner.counters.evaluation is not None
    return np.array([np.mean(returns) for returns in runner.counters.evaluation.values()])


def reader(length: int, stored_state: str, burn_in: int = 0) -> list[str]:
    sizes = [f"memory.reader.{key}={length}" for key in ("length", "period")]
    return [*sizes, f"memory.reader.stored_state={stored_state}", f"memory.reader.burn_in={burn_in}"]


def test_windows_of_a_whole_episode_learn_the_cue(tmp_path):
    words = [*reader(12, "true"), "runner.total_steps=1500", "num_seeds=2"]
    assert greedy_returns(tmp_path, *words).min() > 0.9


def test_short_windows_without_a_state_do_not(tmp_path):
    words = [*reader(4, "false"), "runner.total_steps=1500", "num_seeds=2"]
    assert np.abs(greedy_returns(tmp_path, *words)).max() < 0.5


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("length", "stored_state", "burn_in", "solves"), [(12, "false", 4, True), (4, "false", 0, False)]
)
def test_more_seeds_and_steps(tmp_path, length, stored_state, burn_in, solves):
    """Short windows with a stored state or a burn-in need luck: they are not here."""
    words = [*reader(length, stored_state, burn_in), "runner.total_steps=4000", "num_seeds=4"]
    returns = greedy_returns(tmp_path, *words)
    assert returns.min() > 0.9 if solves else np.abs(returns).max() < 0.5
