"""Videos: one greedy episode, played in an environment of its own, so that nothing else notices."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np

from dqn.agent import Policy
from dqn.env import Env, EnvFactory
from dqn.errors import UserError
from dqn.seeding import integer
from dqn.types import Array

INSTALL = 'pip install "dqn[video]"'
FRAMES_PER_SECOND = 30
"""Where the environment does not say how many."""


class Camera:
    """Films greedy episodes of the first seed.

    Args:
        factory: makes the environment.
        seeds: of the policies.
    """

    def __init__(self, *, factory: EnvFactory, seeds: range) -> None:
        self._seeds = seeds
        self._factory = replace(factory, kwargs={**factory.kwargs, "render_mode": "rgb_array"})
        self._obs = factory.spec.obs

    def check(self) -> None:
        """Raise UserError, with what to install, if a video could not be made."""
        try:
            import imageio_ffmpeg

            imageio_ffmpeg.get_ffmpeg_exe()
            with without_screen():
                env = self._factory.make(training=False)
                try:
                    env.reset(seed=0)
                    frame_of(env)
                finally:
                    env.close()
        except (ImportError, RuntimeError, gymnasium.error.DependencyNotInstalled) as error:
            raise UserError(f"for videos a package is missing ({error}): {INSTALL}") from None
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"env.id={self._factory.id} cannot be filmed ({reason})") from None

    def film(self, path: Path, policy: Policy, place: int) -> float:
        """Write one episode as an .mp4 file, frame by frame; return its raw return.

        Args:
            path: appears when the video is complete.
            policy: acts greedily.
            place: tells this episode from others.
        """
        with without_screen():
            return self._film(path, policy, place)

    def _film(self, path: Path, policy: Policy, place: int) -> float:
        import imageio_ffmpeg

        total, temporary = 0.0, path.with_name(f".{path.name}")
        path.parent.mkdir(exist_ok=True)
        env = self._factory.make(training=False)
        try:
            steps = self._play(env, policy, place)
            frame, _ = next(steps)
            fps = env.metadata.get("render_fps") or FRAMES_PER_SECOND
            writer = imageio_ffmpeg.write_frames(
                str(temporary), frame.shape[1::-1], fps=fps, macro_block_size=2, output_params=["-f", "mp4"]
            )
            writer.send(None)
            try:
                writer.send(frame)
                for frame, reward in steps:
                    writer.send(frame)
                    total += reward
            finally:
                writer.close()
        finally:
            env.close()
        temporary.replace(path)
        return total

    def _play(self, env: Env, policy: Policy, place: int) -> Iterator[tuple[Array, float]]:
        """Yield each frame of an episode, with the reward of the step before it."""
        spec = self._obs
        obs, _ = env.reset(seed=integer(self._seeds[0], "video", place))
        yield frame_of(env), 0.0
        ended = False
        while not ended:
            shaped = np.asarray(obs).reshape(spec.shape).astype(spec.dtype)
            everyone = np.broadcast_to(shaped, (len(self._seeds), 1, *spec.shape)).copy()
            obs, reward, terminated, truncated, _ = env.step(int(policy.actor().act(everyone)[0, 0]))
            ended = terminated or truncated
            yield frame_of(env), float(reward)


SCREENLESS = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
"""Variables by which pygame does not look for a screen and a sound card."""

DRAWING = threading.Lock()


@contextmanager
def without_screen() -> Iterator[None]:
    """Let pygame draw without a screen; only one thread draws, and afterwards its variables are as before."""
    with DRAWING:
        added = [name for name in SCREENLESS if name not in os.environ]
        os.environ.update({name: SCREENLESS[name] for name in added})
        try:
            yield
        finally:
            for name in added:
                os.environ.pop(name, None)


def frame_of(env: Env) -> Array:
    """Return what an environment looks like now, [height, width, 3] bytes."""
    frame = env.render()
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.shape[2:] != (3,):
        raise TypeError("it draws no pictures: it has no render_mode=rgb_array")
    return np.ascontiguousarray(frame)
