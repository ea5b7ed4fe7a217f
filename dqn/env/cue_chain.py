"""A cue chain: answer by what was seen many steps before, registered as CueChain-v0."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.types import Array, NonNegativeInt

CUES = (-1.0, 1.0)


class CueChain(gymnasium.Env[Array, Any]):
    """The first observation has a cue; after some silent steps the action should be that of the cue.

    An observation is [cue, question]: [-1 or 1, 0] first, then [0, 0] in each silent step, and [0, 1] last.
    The action in the last has the reward 1 if it is that of the cue, 0 for -1 and 1 for 1, and else -1; all
    others have no effect. So the best mean return is 1, and 0 without memory. This is bsuite's memory_len
    (Osband et al., 2020, arXiv 1908.03568) without its clock and without the second sight of the cue.

    Args:
        steps: silent steps.
    """

    def __init__(self, *, steps: NonNegativeInt) -> None:
        self._steps = steps
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._cue, self._step = int(self.np_random.integers(2)), 0
        return np.array([CUES[self._cue], 0.0], np.float32), {}

    def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        terminated = self._step > self._steps
        reward = (1.0 if int(action) == self._cue else -1.0) if terminated else 0.0
        self._step += 1
        is_question = self._step > self._steps and not terminated
        return np.array([0.0, is_question], np.float32), reward, terminated, False, {}


gymnasium.register("CueChain-v0", f"{__name__}:CueChain")
