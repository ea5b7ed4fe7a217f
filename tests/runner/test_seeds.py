"""A seed alone is that seed in a stack, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import TINY_EPISODES, make_runner

from dqn.runner import Runner

STEPS = [
    *("runner=steps", "runner.total_steps=1560", "runner.iteration_length=780", "runner.eval_episodes=3"),
    *("runner.learning_starts=300", "runner.train_period=8", "runner.batch_size=64"),
    "runner.target_period=200",
]
MANY = ["env.num_envs=4", "runner.batch_size=31"]
ODD = ["runner.batch_size=3", "network.torso.hidden_sizes=[17]", "env.num_envs=3"]


def run(folder: Path, words: list[str]) -> tuple[Runner, list[np.ndarray]]:
    runner = make_runner(folder, words)
    actions: list[np.ndarray] = []
    act = runner.agent.actor.act

    def recording(obs: np.ndarray, epsilon: float, active: np.ndarray, mask: None) -> np.ndarray:
        actions.append(act(obs, epsilon, active, mask))
        return actions[-1]

    runner.agent.actor.act = recording
    runner.run()
    return runner, actions


def assert_seed_equal(alone: Runner, stack: Runner, k: int) -> None:
    for name in ("policy", "target"):
        ours = alone.agent.policy.state_dict() if name == "policy" else alone.agent.state_dict()["target"]
        theirs = stack.agent.policy.state_dict() if name == "policy" else stack.agent.state_dict()["target"]
        for leaf in ours:
            assert torch.equal(ours[leaf][0], theirs[leaf][k]), (name, leaf)


@pytest.mark.parametrize(
    "words",
    [
        STEPS,
        [*STEPS, "env.num_envs=2", "memory.reader.n_step=3", "agent=double", "agent.max_grad_norm=0.01"],
        [*STEPS, "agent/optimizer=rmsprop", "network.torso.hidden_sizes=[120,84]", "memory.capacity=1000"],
        [*STEPS, *ODD, "agent=c51", "network/streams=dueling", "network.streams.hidden_sizes=[7]"],
        [*STEPS, *MANY, "memory=prioritized", "memory/reader=n_step", "memory.capacity=1001"],
    ],
    ids=[
        "dqn",
        "double, 3 steps, 2 environments, clipped",
        "rmsprop, two layers, full memory",
        "dueling C51, odd batch and widths, 3 environments",
        "prioritized, odd batch",
    ],
)
def test_seed_alone_equals_seed_in_a_stack(tmp_path, words):
    stack, together = run(tmp_path / "stack", [*words, "seed=3", "num_seeds=4"])
    for k in (0, 1, 3):
        alone, single = run(tmp_path / f"alone{k}", [*words, f"seed={3 + k}"])
        np.testing.assert_array_equal(np.stack(single)[:, 0], np.stack(together)[:, k])
        assert_seed_equal(alone, stack, k)
        assert alone.counters.evaluation[str(3 + k)] == stack.counters.evaluation[str(3 + k)]
        lines = [
            (tmp_path / d / f"seed={3 + k}" / "metrics.jsonl").read_text() for d in ("stack", f"alone{k}")
        ]
        assert without_times(lines[0]) == without_times(lines[1])


def without_times(text: str) -> list[str]:
    return [line.partition(', "time/')[0] for line in text.splitlines()]


@pytest.mark.parametrize("memory", ["uniform", "prioritized"])
def test_seed_alone_equals_seed_in_a_stack_by_episodes(tmp_path, memory):
    """Learning starts for all at once on this clock; from 0 that is the same moment for each."""
    words = [*TINY_EPISODES, "runner.learning_starts=0", "runner.total_episodes=40"]
    words += ["runner.eval_episodes=40", "runner.eval_epsilon=0.3", f"memory={memory}"]
    stack, _ = run(tmp_path / "stack", [*words, "num_seeds=3"])
    for k in range(3):
        alone, _ = run(tmp_path / f"alone{k}", [*words, f"seed={k}"])
        assert alone.counters.steps[0] == stack.counters.steps[k]
        assert_seed_equal(alone, stack, k)
        assert alone.counters.evaluation[str(k)] == stack.counters.evaluation[str(k)]


def test_seeds_differ(tmp_path):
    stack, together = run(tmp_path, [*STEPS, "num_seeds=2"])
    assert not np.array_equal(np.stack(together)[:, 0], np.stack(together)[:, 1])
    for leaf in stack.agent.policy.state_dict().values():
        assert not torch.equal(leaf[0], leaf[1])
