"""The training runs that other libraries repeat: one environment, hard target copies."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dqn.types import EnvSpec, Image, ObsSpec

LONGEST_ITERATION = 10_000
"""Environment steps between our checkpoints; the other libraries write none."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One training run, with Adam and the Huber loss with delta 1."""

    name: str
    env: str = "CartPole-v1"
    """Registered id of the peers' environment."""
    parts: Sequence[str] = (
        "env=document",  # plain DQN with a constant learning rate
        "env.reward_scale=1.0",
        "env.time_limit_is_terminal=false",
    )
    """Overrides that choose our environment, our plain DQN and its torso."""
    channels: Sequence[int] = ()
    """Outputs of convolutions of 3x3 pixels before the fully connected layers."""
    hidden_sizes: Sequence[int]
    batch_size: int
    train_period: int
    """Environment steps between updates."""
    learning_starts: int
    """Environment steps before the first update."""
    capacity: int
    """Transitions in replay memory."""
    steps: int
    """Environment steps, of each seed: at most LONGEST_ITERATION, or a multiple of it."""
    lr: float
    gamma: float = 0.99
    target_period: int = 500
    """Environment steps between copies of the target network."""
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    max_grad_norm: float = 10.0

    @property
    def epsilon_duration(self) -> int:
        """Return the environment steps over which epsilon decreases: half of all."""
        return self.steps // 2

    @property
    def updates(self) -> int:
        """Return the number of updates of a seed: one at each multiple of the period once learning starts."""
        return self.steps // self.train_period - (self.learning_starts - 1) // self.train_period

    def __str__(self) -> str:
        return f"{self.name}, {self.steps:,} steps"

    def lasting(self, steps: int) -> "Work":
        """Return the same work with another number of steps."""
        return replace(self, steps=steps, learning_starts=min(self.learning_starts, steps // 2))

    def fields(self) -> dict[str, Any]:
        """Return the JSON object that a peer's program gets."""
        return asdict(self) | {"epsilon_duration": self.epsilon_duration}

    def overrides(self) -> list[str]:
        """Return the overrides of scripts/train.py for this work."""
        return [
            *self.parts,
            "runner=steps",
            f"runner.total_steps={self.steps}",
            f"runner.iteration_length={min(self.steps, LONGEST_ITERATION)}",
            f"runner.batch_size={self.batch_size}",
            f"runner.learning_starts={self.learning_starts}",
            f"runner.train_period={self.train_period}",
            f"runner.target_period={self.target_period}",
            "runner.updates_per_train=1",
            "runner.target_tau=1.0",
            "runner.eval_episodes=0",
            "schedule=linear_steps",
            f"schedule.start={self.epsilon_start}",
            f"schedule.end={self.epsilon_end}",
            f"schedule.duration={self.epsilon_duration}",
            f"network.torso.hidden_sizes={list(self.hidden_sizes)}",
            "network.head.huber_delta=1.0",
            "memory=uniform",
            f"memory.capacity={self.capacity}",
            f"agent.lr={self.lr}",
            f"agent.gamma={self.gamma}",
            f"agent.max_grad_norm={self.max_grad_norm}",
        ]


LIGHT = Work(
    name="light",
    hidden_sizes=[120, 84],
    batch_size=128,
    train_period=10,
    learning_starts=10_000,
    capacity=10_000,
    steps=50_000,
    lr=2.5e-4,
)
HEAVY = Work(
    name="heavy",
    hidden_sizes=[128],
    batch_size=256,
    train_period=1,
    learning_starts=1_000,
    capacity=50_000,
    steps=20_000,
    lr=5e-4,
)


@dataclass(frozen=True, kw_only=True)
class Net:
    """A convolutional network of plain DQN, and the environment that it is for."""

    name: str
    """Option of our torsos."""
    spec: EnvSpec
    convolutions: Sequence[tuple[int, int, int]]
    """Outputs, size of the kernels and stride of each convolution."""
    hidden_size: int
    """Units of the fully connected layer."""
    parts: Sequence[str] = ()
    """Further overrides of ours."""
    lr: float = 1e-4

    def overrides(self) -> list[str]:
        """Return our overrides for this network."""
        chosen = ["env=base", "env.id=Any-v0", f"network/torso={self.name}", *PLAIN]
        return [*chosen, f"agent.lr={self.lr}", *self.parts]


FRAMES = EnvSpec(ObsSpec((84, 84), np.dtype(np.uint8), 0, 1 / 255, 4, Image((84, 84), True, 0)), 6, None)
CELLS = EnvSpec(ObsSpec((10, 10, 4), np.dtype(np.bool_), 0, 1.0, 1, Image((10, 10, 4), True, 0)), 3, None)
PLAIN = ("agent=dqn", "agent/lr_schedule=constant", "network/streams=single", "network/layer=linear")
MINATAR = Work(
    name="minatar",
    env="MinAtar/Breakout-v1",
    parts=("env=minatar", "env.game=breakout", "network/torso=minatar", *PLAIN),
    channels=[16],
    hidden_sizes=[128],
    batch_size=32,
    train_period=4,
    learning_starts=5_000,
    capacity=100_000,
    steps=200_000,
    target_period=1_000,
    lr=2.5e-4,
)
NATURE = Net(name="nature", spec=FRAMES, convolutions=[(32, 8, 4), (64, 4, 2), (64, 3, 1)], hidden_size=512)
DER = Net(
    name="der",
    spec=FRAMES,
    convolutions=[(32, 5, 5), (64, 5, 5)],
    hidden_size=256,
    parts=["network.streams.hidden_sizes=[256]"],
)
MINATAR_NET = Net(name="minatar", spec=CELLS, convolutions=[(16, 3, 1)], hidden_size=128)
START = replace(LIGHT, name="start", steps=200, learning_starts=200)
"""A run whose only update is at its last step."""
