"""Custom parts for configurations of tests: `parts.NAME`."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from torch import nn

from dqn.agent.backup import Greedy

__all__ = ["Deadly", "Explosive", "Harsh", "Headless", "OwnBackup", "Recorder", "Slow", "torch"]


class Recorder(Callback):
    """Hydra callback that prints its calls."""

    def on_run_start(self, config: Any, **kwargs: Any) -> None:
        print("on_run_start", config.seed)

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        print("on_job_end", job_return.status.name, job_return.overrides)

    def on_run_end(self, config: Any, **kwargs: Any) -> None:
        print("on_run_end", config.hydra.job.name)


class OwnBackup(Greedy):
    """A custom backup."""


class Harsh:
    """Prunes every trial after its first iteration."""

    def __call__(self) -> Any:
        from optuna.pruners import ThresholdPruner

        return ThresholdPruner(lower=1e6)


class Headless(nn.Module):
    """A torso whose signature lacks the arguments of torsos."""

    def __init__(self, *, generators: Any = None, in_shape: Any) -> None:
        super().__init__()


class Explosive(gymnasium.Env):
    """Rewards whose squares are infinite."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> Any:
        return self.observation_space.sample(), 1e30, False, False, {}


class Deadly(Explosive):
    """Kills its process."""

    def step(self, action: int) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Slow(CartPoleEnv):
    """CartPole whose steps take 0.3 s after a process's first 150, while the file in DQN_TEST_SLOW exists."""

    taken = 0

    def step(self, action: int) -> Any:
        Slow.taken += 1
        if Slow.taken > 150 and Path(os.environ["DQN_TEST_SLOW"]).exists():
            time.sleep(0.3)
        return super().step(action)


gymnasium.register("Deadly-v0", Deadly, max_episode_steps=10)
gymnasium.register("Explosive-v0", Explosive, max_episode_steps=10)
gymnasium.register("Slow-v0", Slow, max_episode_steps=500)
