"""MinAtar's five games on a grid of 10x10 cells (Young and Tian, 2019), registered as MinAtar/GAME-v1."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.types import Bools, Probability

GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
ACTIONS = 6
"""Number of actions that every game takes; some have no effect in a game."""
PIXELS = 16
"""Side of a cell in a rendered frame."""
COLOURS = np.array(
    [
        *((0, 0, 0), (255, 255, 255), (230, 85, 60), (70, 130, 220), (245, 190, 60), (90, 190, 110)),
        *((165, 105, 200), (70, 200, 205), (235, 125, 180), (150, 110, 80), (150, 150, 150)),
    ],
    np.uint8,
)
"""Red, green and blue of an empty cell and of each channel."""


def game_class(game: str) -> Any:
    """Return MinAtar's class of a game.

    Its file is loaded alone: the whole package imports Matplotlib and seaborn, which only draw but take two
    seconds.
    """
    package = importlib.util.find_spec("minatar")
    if package is None or package.origin is None:
        raise gymnasium.error.DependencyNotInstalled("minatar is not installed")
    path = Path(package.origin).parent / "environments" / f"{game}.py"
    spec: Any = importlib.util.spec_from_file_location(f"minatar_{game}", path)
    assert isinstance(spec, ModuleSpec)
    module = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module.Env


class MinAtar(gymnasium.Env[Any, Any]):
    """A game of MinAtar. Observations are [10, 10, channels], True where a channel's object is.

    It equals MinAtar's own environment of the same seed, except that an episode's first action is never
    replaced by the last one of the episode before.

    Args:
        game: one of GAMES.
        sticky: probability that the action before is repeated instead.
        minimal_actions: offer only actions that have an effect in this game.
        difficulty_ramping: make the game harder with time.
        render_mode: "rgb_array", or None for no rendering.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012, as in the base class

    def __init__(
        self,
        *,
        game: str,
        sticky: Probability,
        minimal_actions: bool,
        difficulty_ramping: bool,
        render_mode: str | None = None,
    ) -> None:
        self._game = game_class(game)(ramping=difficulty_ramping)
        self._random = self._game.random = np.random.RandomState()
        self._actions = self._game.minimal_action_set() if minimal_actions else list(range(ACTIONS))
        self._sticky, self._last = sticky, 0
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(len(self._actions))
        self.observation_space = spaces.Box(0, 1, self._game.state_shape(), np.bool_)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Bools, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._random.seed(seed)
        self._last = 0
        self._game.reset()
        return self._game.state(), {}

    def step(self, action: int) -> tuple[Bools, float, bool, bool, dict[str, Any]]:
        if self._random.rand() >= self._sticky:
            self._last = self._actions[action]
        reward, terminated = self._game.act(self._last)
        return self._game.state(), float(reward), bool(terminated), False, {}

    def render(self) -> Any:
        """Return the grid in colours; of several objects in a cell, that of the first channel is drawn."""
        if self.render_mode is None:
            return None
        cells = self._game.state()
        channel = np.where(cells.any(-1), cells.argmax(-1) + 1, 0)
        return COLOURS[channel].repeat(PIXELS, 0).repeat(PIXELS, 1)


for _game in GAMES:
    gymnasium.register(f"MinAtar/{_game}-v1", f"{__name__}:MinAtar", kwargs={"game": _game})
