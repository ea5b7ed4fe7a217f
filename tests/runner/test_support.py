"""The warning about returns beyond a head's support goes by the returns that were seen."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from helpers import TINY_STEPS, make_runner

from dqn.memory import CLOSING, CONTINUES

C51 = [*TINY_STEPS, "agent=c51", "agent.gamma=0.99", "runner.learning_starts=390"]


class Rare(gymnasium.Env[Any, Any]):
    """A reward of 1 every 15 steps, and a lost life at step 40 of 60."""

    observation_space = spaces.Box(0, 60, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:
        self.t += 1
        obs, reward = np.full(1, self.t, np.float32), float(self.t % 15 == 0)
        return obs, reward, self.t == 60, False, {"life_lost": self.t == 40}


gymnasium.register("Rare-v0", Rare)
RARE = ["env.id=Rare-v0", "env.module=test_support", "env.life_loss_is_terminal=true"]
RUNS = {
    "rewards of CartPole": (["env=base", "env.id=CartPole-v1"], True),
    "scaled ones": (["env=base", "env.id=CartPole-v1", "env.reward_scale=0.1"], False),
    "rare ones, at most 1, as in games of Atari": (RARE, False),
}


@pytest.mark.parametrize("name", RUNS)
def test_warning(tmp_path, caplog, name):
    words, warns = RUNS[name]
    runner = make_runner(tmp_path, [*C51, *words])
    runner.run()
    text = "at agent.gamma=0.99; the support of network.head holds -10 to 10; env.reward_scale makes"
    assert caplog.text.count(text) == warns
    ring, total, returns = runner.memory.ring, 0.0, [0.0]
    for end, reward in zip(
        ring.end[: ring.filled[0]][::-1], ring.reward[: ring.filled[0]][::-1], strict=True
    ):
        total = 0.0 if end == CLOSING else reward + 0.99 * total * (end == CONTINUES)
        returns.append(total)
    expected = min(returns), max(returns)
    assert runner.memory.return_range(0.99) == pytest.approx(expected)
