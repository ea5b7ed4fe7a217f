"""Catch: move a paddle below a falling ball, the smallest environment of images, registered as Catch-v0."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.types import Array

SIZE = 10
"""Rows and columns of the board."""
PIXELS = 16
"""Side of a cell in a rendered frame."""


class Catch(gymnasium.Env[Array, Any]):
    """A ball falls one row per step from a random column; the paddle in the last row should catch it.

    The actions are left, stay and right; the paddle starts in the middle. An episode of SIZE - 1 steps ends
    when the ball reaches the last row, with the reward 1 if the paddle is there and -1 if it is not; the
    other rewards are 0. Observations are bytes [SIZE, SIZE, 1], 1 where the ball or the paddle is. This is
    the game of bsuite (Osband et al., 2020, arXiv 1908.03568), whose board has 5 columns.

    Args:
        render_mode: "rgb_array", or None for no rendering.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012, as in the base class

    def __init__(self, *, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 1, (SIZE, SIZE, 1), np.uint8)
        self.action_space = spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._row, self._column = 0, int(self.np_random.integers(SIZE))
        self._paddle = SIZE // 2
        return self._board(), {}

    def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self._row += 1
        self._paddle = min(max(self._paddle + int(action) - 1, 0), SIZE - 1)
        terminated = self._row == SIZE - 1
        reward = (1.0 if self._paddle == self._column else -1.0) if terminated else 0.0
        return self._board(), reward, terminated, False, {}

    def render(self) -> Any:
        if self.render_mode is None:
            return None
        return (255 * self._board()).repeat(PIXELS, 0).repeat(PIXELS, 1).repeat(3, 2)

    def _board(self) -> Array:
        """Return the observation [SIZE, SIZE, 1]."""
        board = np.zeros((SIZE, SIZE, 1), np.uint8)
        board[self._row, self._column] = board[-1, self._paddle] = 1
        return board


gymnasium.register("Catch-v0", f"{__name__}:Catch")
