"""Videos: one greedy episode each, of which nothing else takes notice."""

import gc
import json
import os
import sys
import warnings
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from commands import call
from envs import Recorder  # noqa: F401  registers the environments
from helpers import TINY_STEPS, config_of, make_runner
from records import contents, read_events, read_metrics, same, scalars_of

import dqn
import dqn.runner.video
from dqn.config.validate import check
from dqn.errors import install
from dqn.runner.video import without_screen
from dqn.seeding import integer

WORDS = [*TINY_STEPS, "num_seeds=2", "seed=5", "runner.eval_period=1", "runner.eval_episodes=1"]


@pytest.fixture
def ffmpeg():
    """Return the reader of videos; skip where the extra is not installed."""
    pytest.importorskip("pygame", reason="the extra `video` is not installed: pygame")
    return pytest.importorskip("imageio_ffmpeg", reason="the extra `video` is not installed: imageio-ffmpeg")


def frames_of(ffmpeg, path) -> tuple[dict, list[bytes]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the reader leaves its pipes open
        reader = ffmpeg.read_frames(str(path))
        about, frames = next(reader), list(reader)
        del reader
        gc.collect()
    return about, frames


def test_videos_leave_training_alone(tmp_path, ffmpeg):
    ends = []
    for period in (0, 1):
        folder = tmp_path / str(period)
        runner = make_runner(folder, [*WORDS, f"runner.video_period={period}"])
        runner.run()
        ends.append((contents(runner), read_metrics(folder), scalars_of(read_events(folder))))
        names = sorted(path.name for path in folder.glob("videos/*"))
        assert names == ["iteration-1.mp4", "iteration-2.mp4"] * period
    same(*ends)
    about, _ = frames_of(ffmpeg, folder / "videos" / "iteration-2.mp4")
    assert about["size"] == (600, 400)
    assert about["fps"] == 50, "as the environment says"


@pytest.mark.parametrize("stack", [1, 3])
def test_the_episode_is_greedy_and_whole(tmp_path, ffmpeg, stack):
    """It is the one that the first seed's policy plays from the stream of the video."""
    runner = make_runner(tmp_path, [*WORDS, f"env.frame_stack={stack}", "runner.video_period=3"])
    runner.run()
    total = runner.camera.film(tmp_path / "x.mp4", runner.agent.policy, 3)
    env = runner.camera._factory.make(training=False)
    obs, _ = env.reset(seed=integer(5, "video", 3))
    frames = [np.zeros_like(obs)] * stack
    steps, ended = 0, False
    while not ended:
        frames.append(obs)
        read = np.stack(frames[-stack:]) if stack > 1 else obs
        values = runner.agent.policy.q_values(np.stack([read, -read])[:, None].astype(np.float32))
        obs, _, terminated, truncated, _ = env.step(int(values[0, 0].argmax()))
        steps, ended = steps + 1, terminated or truncated
    env.close()
    assert total == steps
    assert len(frames_of(ffmpeg, tmp_path / "x.mp4")[1]) == steps + 1
    assert {path.name for path in tmp_path.glob("*mp4")} == {"x.mp4"}, "and no temporary file"


def test_wrappers_are_filmed_but_for_those_of_training(tmp_path, ffmpeg):
    words = [
        "env.wrappers=[{_target_: gymnasium.wrappers.TimeLimit, max_episode_steps: 5}]",
        "env.training_wrappers=[{_target_: gymnasium.wrappers.ClipReward, max_reward: 0.5}]",
    ]
    runner = make_runner(tmp_path, [*WORDS, *words, "runner.video_period=3"])
    assert runner.camera.film(tmp_path / "x.mp4", runner.agent.policy, 0) == 5
    assert len(frames_of(ffmpeg, tmp_path / "x.mp4")[1]) == 6


def test_endless_episodes_are_cut(tmp_path, ffmpeg, caplog):
    runner = make_runner(tmp_path, [*WORDS, "runner.video_period=3", "runner.eval_max_steps=4"])
    assert runner.camera.film(tmp_path / "x.mp4", runner.agent.policy, 0) == 4
    assert len(frames_of(ffmpeg, tmp_path / "x.mp4")[1]) == 5
    assert "runner.eval_max_steps=4 cut the filmed episode" in caplog.text


def test_variables_stay_as_they_were(tmp_path, monkeypatch, ffmpeg):
    """Those by which pygame needs no screen are there while it draws, and only then."""
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    monkeypatch.setenv("SDL_AUDIODRIVER", "mine")
    drawn: list[tuple[str | None, str | None]] = []

    def frame_of(env):
        drawn.append((os.environ.get("SDL_VIDEODRIVER"), os.environ.get("SDL_AUDIODRIVER")))
        return original(env)

    original = dqn.runner.video.frame_of
    monkeypatch.setattr(dqn.runner.video, "frame_of", frame_of)
    before = dict(os.environ)
    dqn.train([*WORDS, f"hydra.run.dir={tmp_path}/none"])
    assert dict(os.environ) == before
    assert drawn == []
    dqn.train([*WORDS, f"hydra.run.dir={tmp_path}/run", "runner.video_period=1"])
    assert dict(os.environ) == before
    assert len(drawn) > 3
    assert set(drawn) == {("dummy", "mine")}


def test_variables_stay_as_they_were_where_drawing_fails(monkeypatch):
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    before = dict(os.environ)
    with pytest.raises(RuntimeError), without_screen():
        raise RuntimeError
    assert dict(os.environ) == before


def test_evaluate_with_a_video(finished_run, tmp_path, ffmpeg):
    result = call("evaluate", finished_run, "episodes=2", f"video={tmp_path}/x.mp4")
    assert result.code == 0, result.text
    assert f"{tmp_path}/x.mp4: a greedy episode of seed 0, return" in result.text
    assert len(frames_of(ffmpeg, tmp_path / "x.mp4")[1]) > 8
    assert json.loads((finished_run / "evaluation.json").read_text())["video"] == f"{tmp_path}/x.mp4"


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("video=x.gif", "video=x.gif: should be an .mp4 file"),
        ("video=7", "video=7: should be text"),
        ("video=no/such/x.mp4", "video=no/such/x.mp4: should be in a folder that exists"),
    ],
)
def test_a_video_that_cannot_be_written(finished_run, word, right):
    result = call("evaluate", finished_run, word)
    assert result.code == 1
    assert right in result.text


@pytest.mark.parametrize("package", ["imageio_ffmpeg", "pygame"])
def test_a_missing_package_is_told_before_training(finished_run, tmp_path, monkeypatch, package):
    if package == "pygame":
        pytest.importorskip("imageio_ffmpeg", reason="the extra `video` is not installed: imageio-ffmpeg")
    monkeypatch.setitem(sys.modules, package, None)
    (problem,) = check(config_of([*WORDS, "runner.video_period=1"])).problems
    assert problem.key == "runner.video_period"
    assert install("video") in problem.should
    assert check(config_of(WORDS)).problems == []
    result = call("evaluate", finished_run, f"video={tmp_path}/x.mp4")
    assert result.code == 1
    assert install("video") in result.text


@pytest.mark.filterwarnings("ignore:.*rgb_array.*:UserWarning")
@pytest.mark.usefixtures("ffmpeg")
def test_an_environment_that_cannot_draw():
    (problem,) = check(config_of([*WORDS, "env.id=Chain-v0", "runner.video_period=1"])).problems
    assert "env.id=Chain-v0 cannot be filmed (WrongValue: env.kwargs=" in problem.should


class Undrawn(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)
    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, 0.0, True, False, {}


@pytest.mark.filterwarnings("ignore:.*rgb_array.*:UserWarning")
@pytest.mark.usefixtures("ffmpeg")
def test_an_environment_without_render():
    gymnasium.register("Undrawn-v0", Undrawn)
    (problem,) = check(config_of([*WORDS, "env.id=Undrawn-v0", "runner.video_period=1"])).problems
    assert problem.should == "should be 0: env.id=Undrawn-v0 cannot be filmed (it has no `render`)"
    del gymnasium.registry["Undrawn-v0"]
