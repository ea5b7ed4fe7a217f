"""Environments that the tests register: `env.module=envs`."""

import copy
import json
import uuid
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.conformance.chain import Chain
from dqn.env import EnvFactory, Environments

ENV: dict[str, Any] = {
    "game": None,
    "module": None,
    "kwargs": {},
    "max_episode_steps": None,
    "wrappers": [],
    "training_wrappers": [],
    "scale_bytes": True,
    "frame_stack": 1,
    "channels": "auto",
    "action_mask": None,
    "num_envs": 2,
    "vectorization": "sync",
    "reward_scale": 1.0,
    "reward_clip": None,
    "time_limit_is_terminal": False,
    "life_loss_is_terminal": False,
}


FACTORY: dict[str, Any] = {
    key: value for key, value in ENV.items() if key in EnvFactory.__dataclass_fields__ and key != "kwargs"
}
"""Arguments of EnvFactory."""


def make_environments(id: str = "CartPole-v1", **changes: Any) -> Environments:
    """Return two environments for each of three seeds, unless `changes` say otherwise."""
    return Environments(
        id=id, **ENV | {"seeds": [0, 1, 2], "role": "environment", "training": True} | changes
    )


class Recorder(gymnasium.Env):
    """Episodes of 1 to 7 steps, terminated or truncated; each environment writes its steps to a file.

    All observations of a process differ, so each sample can be traced to its step.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, folder: str) -> None:
        self.file = Path(folder) / f"{uuid.uuid4().hex}.jsonl"

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        if seed is not None:
            self.name = seed % 4093
        self.length = int(self.np_random.integers(1, 8))
        self.terminates = bool(self.np_random.random() < 0.5)
        self.t = 0
        return self._obs(), {}

    def _obs(self) -> Any:
        self.obs = np.array([self.name, self.t, self.np_random.random()], np.float32)
        return self.obs

    def step(self, action: int) -> Any:
        before = self.obs
        self.t += 1
        reward = float(self.np_random.normal())
        ended = self.t == self.length
        terminated, truncated = ended and self.terminates, ended and not self.terminates
        self._obs()
        record = [before.tolist(), int(action), reward, self.obs.tolist(), terminated, truncated]
        with self.file.open("a") as file:
            file.write(json.dumps(record) + "\n")
        return self.obs, reward, terminated, truncated, {}


class Counting(gymnasium.Env):
    """Endless episodes of rewards 1, 2, 3, ...; it counts how many such environments live.

    Args:
        strict: refuse to live beside another one.
        short: length of the episodes of even seeds.
    """

    alive = most = 0
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, strict: bool = False, short: int | None = None) -> None:
        if strict and Counting.alive:
            raise RuntimeError("the port is in use")
        self.short, self.even = short, False
        Counting.alive += 1
        Counting.most = max(Counting.most, Counting.alive)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        self.even = self.even if seed is None else seed % 2 == 0
        self.t = 0
        return self.np_random.random(2, np.float32), {}

    def step(self, action: int) -> Any:
        self.t += 1
        ended = self.even and self.t == self.short
        return self.np_random.random(2, np.float32), float(self.t), ended, False, {}

    def close(self) -> None:
        Counting.alive -= 1


class Spaces(gymnasium.Env):
    """Episodes of two steps whose observations are samples of any space."""

    SPACES: ClassVar[dict[str, spaces.Space]] = {
        "scalar": spaces.Box(-1, 1, (), np.float32),
        "box": spaces.Box(-1, 1, (2, 3), np.float64),
        "bytes": spaces.Box(0, 255, (4, 4, 1), np.uint8),
        "small": spaces.Box(-3, 300, (2,), np.int64),
        "wide": spaces.Box(-(2**40), 2**40, (2,), np.int64),
        "discrete": spaces.Discrete(5, start=3),
        "binary": spaces.MultiBinary(4),
        "multi": spaces.MultiDiscrete([3, 2]),
        "dict": spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(0, 1, (2,), np.float32)}),
        "tuple": spaces.Tuple((spaces.MultiBinary(2), spaces.Dict({"c": spaces.MultiDiscrete([2, 2])}))),
        "bools": spaces.Box(0, 1, (4, 3, 2), np.bool_),
        "mixed": spaces.Dict(
            {
                "direction": spaces.Discrete(3, start=1),
                "picture": spaces.Box(0, 255, (4, 3, 2), np.uint8),
                "speed": spaces.Box(-1, 1, (1,), np.float32),
            }
        ),
        "text": spaces.Text(4),
        "told": spaces.Dict({"a": spaces.Discrete(3), "mission": spaces.Text(4)}),
        "sequence": spaces.Dict({"s": spaces.Sequence(spaces.Discrete(2))}),
    }

    def __init__(self, name: str, start: int = 0) -> None:
        self.observation_space = copy.deepcopy(self.SPACES[name])  # samples come from its own stream
        self.action_space = spaces.Discrete(3, start=start)
        self.observed: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action: int) -> Any:
        assert self.action_space.contains(action), action
        self.t += 1
        return self.observation_space.sample(), float(action), self.t == 2, False, {}


class Direction(gymnasium.Env):
    """Episodes of two steps: a dot moves to a neighbour on a ring, and the second action names the direction.

    The last frame alone tells nothing, nor does anything that the agent does.
    """

    SIZE = 8
    observation_space = spaces.Box(0, 1, (SIZE, SIZE, 1), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        self.is_second = False
        self.column, self.way = int(self.np_random.integers(self.SIZE)), int(self.np_random.integers(2))
        return self._frame(), {}

    def step(self, action: int) -> Any:
        if self.is_second:
            return self._frame(), 1.0 if action == self.way else -1.0, True, False, {}
        self.is_second = True
        self.column = (self.column + 2 * self.way - 1) % self.SIZE
        return self._frame(), 0.0, False, False, {}

    def _frame(self) -> Any:
        frame = np.zeros((self.SIZE, self.SIZE, 1), np.uint8)
        frame[self.SIZE // 2, self.column] = 1
        return frame


class Masked(gymnasium.Env):
    """Random walks of up to 9 steps with random masks, which no action may violate; half of them terminate.

    Args:
        observes: give the mask in Dict observations rather than in infos.
        start: number of the first action.
        wrong: give this value instead of the mask from the third step on.
    """

    ACTIONS = 4

    def __init__(self, observes: bool = False, start: int = 0, wrong: Any = ...) -> None:
        position = spaces.Box(-9, 9, (2,), np.float32)
        parts = {"position": position, "action_mask": spaces.MultiBinary(self.ACTIONS)}
        self.observation_space: spaces.Space[Any] = spaces.Dict(parts) if observes else position
        self.action_space = spaces.Discrete(self.ACTIONS, start=start)
        self.observes, self.start, self.wrong = observes, start, wrong
        self.mask = np.zeros(self.ACTIONS, np.int8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        self.t, self.position = 0, np.zeros(2, np.float32)
        self.length, self.terminates = int(self.np_random.integers(2, 10)), self.np_random.random() < 0.5
        return self.result()

    def result(self) -> tuple[Any, dict[str, Any]]:
        self.mask = (self.np_random.random(self.ACTIONS) < 0.4).astype(np.int8)
        self.mask[self.np_random.integers(self.ACTIONS)] = 1
        mask = self.mask if self.t < 3 or self.wrong is ... else self.wrong
        if self.observes:
            return {"position": self.position.copy(), "action_mask": mask}, {}
        return self.position.copy(), {} if mask is None else {"action_mask": mask}

    def step(self, action: int) -> Any:
        assert self.mask[action - self.start], f"{action} is invalid: {self.mask}"
        self.t += 1
        self.position[action % 2] += 1 if action < 2 else -1
        ended = self.t == self.length
        obs, info = self.result()
        if ended and self.terminates:
            self.mask[:] = 0  # no action is left
        return obs, float(self.position[0]), ended and self.terminates, ended and not self.terminates, info


gymnasium.register("Masked-v0", Masked)
gymnasium.register("Recorder-v0", Recorder)
gymnasium.register("Counting-v0", Counting)
gymnasium.register("Chain-v0", Chain, max_episode_steps=100)
gymnasium.register("Spaces-v0", Spaces)
gymnasium.register("Direction-v0", Direction)
