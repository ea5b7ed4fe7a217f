"""Videos: one greedy episode each, played in a separate environment so that training does not notice it."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np

from dqn.agent import Policy
from dqn.env import MASK, Env, EnvFactory
from dqn.errors import UserError, install, one_line
from dqn.process import preserve_settings
from dqn.seeding import integer
from dqn.types import Array

log = logging.getLogger(__name__)

FRAMES_PER_SECOND = 30
"""Speed of a video if the environment names none."""


class Camera:
    """Films greedy episodes of the first seed.

    Args:
        factory: makes the environment.
        seeds: the seeds of the policies that are filmed.
        max_steps: environment steps after which an episode is cut; None: never.
    """

    def __init__(self, *, factory: EnvFactory, seeds: range, max_steps: int | None) -> None:
        self._seeds, self._max_steps = seeds, max_steps
        self._factory = replace(factory, kwargs={**factory.kwargs, "render_mode": "rgb_array"})
        self._obs, self._has_mask = factory.spec.obs, factory.spec.has_mask

    def check(self) -> None:
        """Raise UserError, with the package to install, if videos cannot be made."""
        try:
            import imageio_ffmpeg

            imageio_ffmpeg.get_ffmpeg_exe()
            with without_screen(), closing(self._factory.make(training=False)) as env:
                env.reset(seed=0)
                frame_of(env)
        except NotImplementedError:  # a RuntimeError, but no missing package
            raise UserError(f"env.id={self._factory.id} cannot be filmed (it has no `render`)") from None
        except (ImportError, RuntimeError, gymnasium.error.DependencyNotInstalled) as error:
            raise UserError(f"for videos a package is missing ({error}): {install('video')}") from None
        except Exception as error:
            raise UserError(f"env.id={self._factory.id} cannot be filmed ({one_line(error)})") from None

    def film(
        self, path: Path, policy: Policy, index: int, watch: Callable[[int], None] = lambda step: None
    ) -> float:
        """Write one episode as an .mp4 file, frame by frame, and return its raw return.

        Args:
            path: the file; it appears once the video is complete.
            policy: acts greedily.
            index: the number of the episode, such as the iteration; it seeds the environment.
            watch: is called with the number of each step.
        """
        import imageio_ffmpeg

        total, temporary = 0.0, path.with_name(f".{path.name}")
        path.parent.mkdir(exist_ok=True)
        temporary.touch()  # an error here says why; ffmpeg would only close its pipe
        with without_screen(), closing(self._factory.make(training=False)) as env:
            steps = self._play(env, policy, index)
            frame, _ = next(steps)
            fps = env.metadata.get("render_fps") or FRAMES_PER_SECOND
            writer = imageio_ffmpeg.write_frames(
                str(temporary), frame.shape[1::-1], fps=fps, macro_block_size=2, output_params=["-f", "mp4"]
            )
            with closing(writer):
                writer.send(None)
                writer.send(frame)
                for number, (frame, reward) in enumerate(steps, 1):
                    writer.send(frame)
                    total += reward
                    watch(number)
        temporary.replace(path)
        return total

    def _play(self, env: Env, policy: Policy, index: int) -> Iterator[tuple[Array, float]]:
        """Yield each frame of an episode, with the reward of the step before it."""
        spec, actor = self._obs, policy.actor()
        obs, info = env.reset(seed=integer(self._seeds[0], "video", index))
        yield frame_of(env), 0.0
        ended, steps = False, 0
        while not ended and steps != self._max_steps:
            shaped = np.asarray(obs).reshape(spec.shape).astype(spec.dtype)
            for_all_seeds = np.broadcast_to(shaped, (len(self._seeds), 1, *spec.shape)).copy()
            mask = np.tile(info[MASK], (len(self._seeds), 1, 1)) if self._has_mask else None
            actions = actor.act(for_all_seeds, mask=mask)
            obs, reward, terminated, truncated, info = env.step(int(actions[0, 0]))
            reward = float(reward)
            actor.acted(actions, np.broadcast_to(self._factory.learned_reward(reward), actions.shape))
            ended, steps = terminated or truncated, steps + 1
            yield frame_of(env), reward
        if not ended:
            log.warning("warning: runner.eval_max_steps=%d cut the filmed episode", steps)


SCREENLESS = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
"""Environment variables that keep pygame from opening a window and a sound device."""

DRAWING = threading.Lock()


@contextmanager
def without_screen() -> Iterator[None]:
    """Have pygame draw without a screen, in one thread at a time; at the end undo what environments set."""
    with DRAWING, preserve_settings():
        added = [name for name in SCREENLESS if name not in os.environ]
        os.environ.update({name: SCREENLESS[name] for name in added})
        try:
            yield
        finally:
            for name in added:
                os.environ.pop(name, None)


def frame_of(env: Env) -> Array:
    """Return the picture of an environment's present state, [height, width, 3] bytes."""
    frame = env.render()
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.shape[2:] != (3,):
        raise TypeError("it draws no pictures: it has no render_mode=rgb_array")
    return np.ascontiguousarray(frame)
