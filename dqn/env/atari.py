"""Games of the Atari 2600 as networks read them, registered as Atari/GAME-v0 for each game of ale-py."""

from functools import cache
from sys import maxsize
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding

from dqn.types import Array, NonNegativeInt, PositiveInt, Probability

try:
    import ale_py
    import cv2
    from ale_py import roms
except ImportError as error:
    raise gymnasium.error.DependencyNotInstalled(str(error)) from None

FRAMES_PER_SECOND = 60
"""Frames of the console."""


class Atari(gymnasium.Env[Array, Any]):
    """A game of the Atari 2600. Observations are [size, size, 1], or 3 channels in colour, in bytes.

    Each shows the larger of the last two frames in every pixel, because games draw some objects in every
    second frame only. A game of a seed is that of Gymnasium's AtariPreprocessing around ALE/GAME-v5, but the
    last observation of an episode shows its true last frames, also if it ends within the skipped ones.
    A lost life does not end the game; info["life_lost"] reports it.

    Args:
        game: name of the game as ale-py's files have it.
        sticky: probability, in each frame, that the action before is repeated instead. Machado et al. (2018).
        frame_skip: frames for which an action is held.
        noop_max: a game starts with 1 to `noop_max` frames without an action; 0: with none.
        fire_on_reset: then press FIRE for `frame_skip` frames, if the game has that action.
        full_action_space: offer all 18 actions; if not, those that have an effect in this game.
        size: height and width of observations, to which the screen is shrunk by area.
        grayscale: show brightness only.
        max_frames: frames after which an episode is truncated; None: never.
        render_mode: "rgb_array", the screen in the game's colours, or None.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012, as in the base class

    def __init__(
        self,
        *,
        game: str,
        sticky: Probability,
        frame_skip: PositiveInt,
        noop_max: NonNegativeInt,
        fire_on_reset: bool,
        full_action_space: bool,
        size: PositiveInt,
        grayscale: bool,
        max_frames: PositiveInt | None,
        render_mode: str | None = None,
    ) -> None:
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale = ale = ale_py.ALEInterface()
        ale.setFloat("repeat_action_probability", sticky)
        self._game, self._is_loaded = game, False
        minimal, full, screen_size = facts(game)
        self._actions = full if full_action_space else minimal
        self._frame_skip, self._noop_max = frame_skip, noop_max
        self._fires = fire_on_reset and ale_py.Action.FIRE in minimal
        self._max_frames = self._frames_left = maxsize if max_frames is None else max_frames
        self.max_steps = None if max_frames is None else -(-max_frames // frame_skip)
        """Steps after which an episode is truncated at the latest."""
        self._lives = 0
        self._copy_screen = ale.getScreenGrayscale if grayscale else ale.getScreenRGB
        self._frames = np.zeros((3, *screen_size, *(() if grayscale else (3,))), np.uint8)
        """The last frame, the one before, and the larger of both."""
        self._size = (size, size)
        self.action_space = spaces.Discrete(len(self._actions))
        self.observation_space = spaces.Box(0, 255, (size, size, 1 if grayscale else 3), np.uint8)
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": max(FRAMES_PER_SECOND // frame_skip, 1)}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        if seed is not None or not self._is_loaded:
            self._load(seed)
        self._start()
        if self._noop_max:
            self._hold(ale_py.Action.NOOP, int(self.np_random.integers(1, self._noop_max + 1)))
        if self._fires:
            self._hold(ale_py.Action.FIRE, self._frame_skip)
        last, *_ = self._frames
        self._copy_screen(last)
        self._lives = self._ale.lives()
        return self._shrink(last), self._info(life_lost=False)

    def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        ale, held, reward = self._ale, self._actions[action], 0
        last, before, both = self._frames
        count = max(1, min(self._frame_skip, self._frames_left))  # no-ops may have used up all frames
        if count == 1:
            before[...] = last
        for number in range(1, count + 1):
            reward += ale.act(held)
            if over := ale.game_over():
                break
            if number == count - 1:
                self._copy_screen(before)
        self._frames_left -= number
        self._copy_screen(last)
        shows_both = number == count and self._frame_skip > 1
        obs = self._shrink(np.maximum(last, before, out=both) if shows_both else last)
        lives = ale.lives()
        lost, self._lives = lives < self._lives and not over, lives
        return obs, float(reward), over, not over and self._frames_left <= 0, self._info(life_lost=lost)

    def render(self) -> Any:
        return None if self.render_mode is None else self._ale.getScreenRGB()

    def _load(self, seed: int | None) -> None:
        """Load the game, which alone makes ale-py use a seed; both generators get those of ALE/GAME-v5."""
        own, emulator = np.random.SeedSequence(seed).generate_state(2)
        self._np_random, self._np_random_seed = seeding.np_random(int(own))
        self._ale.setInt("random_seed", int(emulator.astype(np.int32)))
        load(self._ale, self._game)
        self._is_loaded = True

    def _start(self) -> None:
        self._ale.reset_game()
        self._frames_left = self._max_frames

    def _hold(self, action: ale_py.Action, count: int) -> None:
        """Hold an action for `count` frames; where that ends the game, start it again."""
        for _ in range(count):
            self._ale.act(action)
            self._frames_left -= 1
            if self._ale.game_over():
                self._start()

    def _shrink(self, screen: Array) -> Array:
        small = cv2.resize(screen, self._size, interpolation=cv2.INTER_AREA)
        return small.reshape(self.observation_space.shape)

    def _info(self, *, life_lost: bool) -> dict[str, Any]:
        return {"lives": self._lives, "life_lost": life_lost, "frames": self._ale.getEpisodeFrameNumber()}


def load(ale: ale_py.ALEInterface, game: str) -> None:
    path = roms.get_rom_path(game)
    assert path is not None
    ale.loadROM(path)


@cache
def facts(game: str) -> tuple[list[ale_py.Action], list[ale_py.Action], tuple[int, int]]:
    """Return the actions that have an effect in a game, all actions, and the height and width of the screen.

    They are kept, because loading a game takes a tenth of a second.
    """
    ale = ale_py.ALEInterface()
    load(ale, game)
    return ale.getMinimalActionSet(), ale.getLegalActionSet(), ale.getScreenDims()


for _game in roms.get_all_rom_ids():
    _name = _game.title().replace("_", "")
    gymnasium.register(f"Atari/{_name}-v0", f"{__name__}:Atari", kwargs={"game": _game})
