"""Atari games: equal to Gymnasium's wrapper where that is right, and what it does differently."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import make_environments
from helpers import make_runner

pytest.importorskip("ale_py")
pytest.importorskip("cv2")

import ale_py
from gymnasium.wrappers import AtariPreprocessing

import dqn.env.atari  # noqa: F401, registers the games
from dqn.env.spec import time_limit
from dqn.memory.n_step import NStep
from dqn.memory.ring import CLOSING, CONTINUES, LOST, TRUNCATED

gymnasium.register_envs(ale_py)

VALUES: dict[str, Any] = {"sticky": 0.0, "frame_skip": 4, "noop_max": 0, "fire_on_reset": False}
VALUES |= {"full_action_space": False, "size": 84, "grayscale": True, "max_frames": None}


def make(game: str = "Breakout", **kwargs: Any) -> gymnasium.Env:
    return gymnasium.make(f"Atari/{game}-v0", disable_env_checker=True, **VALUES | kwargs).unwrapped


def reference(game: str, *, sticky: float = 0.0, noop_max: int = 0, **kwargs: Any) -> gymnasium.Env:
    env = gymnasium.make(f"ALE/{game}-v5", frameskip=1, repeat_action_probability=sticky, **kwargs)
    return AtariPreprocessing(env, noop_max=noop_max)


@pytest.mark.parametrize(
    ("game", "sticky", "noop_max"), [("Breakout", 0.0, 0), ("Pong", 0.25, 0), ("SpaceInvaders", 0.25, 30)]
)
def test_a_game_equals_gymnasium_s_frame_by_frame(game, sticky, noop_max):
    ours, theirs = (make_one(game, sticky=sticky, noop_max=noop_max) for make_one in (make, reference))
    (obs, _), (right, _) = ours.reset(seed=5), theirs.reset(seed=5)
    np.testing.assert_array_equal(obs[..., 0], right)
    for action in np.random.default_rng(0).integers(ours.action_space.n, size=150).tolist():
        obs, *ends, info = ours.step(action)
        right, *right_ends, right_info = theirs.step(action)
        assert ends == right_ends
        assert (info["lives"], info["frames"]) == (right_info["lives"], right_info["episode_frame_number"])
        if ends[1]:  # Gymnasium's last observation is an older one
            (obs, _), (right, _) = ours.reset(), theirs.reset()
        np.testing.assert_array_equal(obs[..., 0], right)
        assert ours.observation_space.contains(obs)


def test_the_last_observation_of_a_cut_game_shows_its_last_two_frames():
    """Gymnasium's wrapper stops before it looks at the screen, so its last observation is an older one."""
    frames, screens, actions = make("Freeway", frame_skip=1), [], (1, 2, 1)
    frames.reset()
    for frame in range(12):
        frames.step(actions[frame // 4])
        screens.append(frames._ale.getScreenGrayscale())
    for max_frames in (9, 10, 12):
        env = make("Freeway", max_frames=max_frames)
        env.reset()
        ends = [env.step(action) for action in actions]
        assert [end[2:4] for end in ends] == [(False, False), (False, False), (False, True)]
        obs, *_, info = ends[-1]
        assert info["frames"] == max_frames
        last, before = screens[max_frames - 1], screens[max_frames - 2]
        assert (last != before).any()
        np.testing.assert_array_equal(obs, frames._shrink(np.maximum(last, before)))


def test_a_game_whose_frames_all_pass_in_no_ops_is_cut_at_its_first_step():
    env = make(noop_max=30, max_frames=1)
    assert env.reset(seed=0)[1]["frames"] > 1
    assert env.step(0)[2:4] == (False, True)


@pytest.mark.parametrize(("max_frames", "steps"), [(None, None), (9, 3), (108000, 27000)])
def test_time_limit_in_steps(max_frames, steps):
    assert time_limit(make(max_frames=max_frames)) == steps


@pytest.mark.parametrize(("game", "actions"), [("Breakout", 4), ("Pong", 6), ("Freeway", 3)])
def test_minimal_and_full_actions(game, actions):
    assert make(game).action_space.n == actions
    assert make(game, full_action_space=True).action_space.n == 18


def played(env: gymnasium.Env, actions: list[int], seed: int | None = None) -> np.ndarray:
    env.reset(seed=seed)
    return np.array([env.step(action)[0] for action in actions])


def test_sticky_actions():
    """At 1 the first one, none, is held for ever; at 0 each is played; between, the seed decides."""
    to_left, to_right = [3] * 8, [2] * 8
    held, free, sticky = (make(sticky=probability) for probability in (1.0, 0.0, 0.5))
    np.testing.assert_array_equal(played(held, to_left), played(held, to_right))
    assert (played(free, to_left) != played(free, to_right)).any()
    assert (played(sticky, to_left, seed=1) != played(sticky, to_left, seed=2)).any()


def test_a_game_starts_with_random_no_ops():
    env = make(noop_max=6)
    env.reset(seed=0)
    assert {env.reset()[1]["frames"] for _ in range(40)} == set(range(1, 7))


@pytest.mark.parametrize(("game", "frames"), [("Breakout", 4), ("Freeway", 0)])
def test_fire_on_reset_where_the_game_has_it(game, frames):
    assert make(game, fire_on_reset=True).reset(seed=0)[1]["frames"] == frames


def test_a_lost_life_is_reported_and_the_game_continues():
    env = make(fire_on_reset=True)
    _, info = env.reset(seed=0)
    lives, lost, frames, terminated = info["lives"], 0, info["frames"], False
    assert (lives, info["life_lost"]) == (5, False)
    while not terminated:
        _, _, terminated, truncated, info = env.step(1)
        assert not truncated
        assert info["frames"] > frames
        frames = info["frames"]
        assert info["life_lost"] == (info["lives"] < lives and not terminated)
        lost += info["life_lost"]
        lives = info["lives"]
    assert (lives, lost) == (0, 4)


def test_a_seed_in_a_used_environment_plays_as_in_a_new_one():
    values = {"sticky": 0.5, "noop_max": 30}
    used = make(**values)
    played(used, [1, 2, 3, 2], seed=8)
    actions = np.random.default_rng(3).integers(4, size=40).tolist()
    np.testing.assert_array_equal(played(used, actions, 2), played(make(**values), actions, 2))


def test_colours():
    env = make(grayscale=False, size=40, render_mode="rgb_array")
    obs, _ = env.reset(seed=0)
    assert (obs.shape, env.observation_space.shape) == ((40, 40, 3), (40, 40, 3))
    assert env.render().shape == (210, 160, 3)
    assert env.metadata["render_fps"] == 15
    assert (obs[..., 0] != obs[..., 2]).any()
    assert make().render() is None


def test_in_processes_as_in_one():
    kwargs = VALUES | {"sticky": 0.25, "noop_max": 5, "size": 20}
    observations = []
    for vectorization in ("sync", "async"):
        environments = make_environments(
            "Atari/Breakout-v0",
            module="dqn.env.atari",
            kwargs=kwargs,
            vectorization=vectorization,
            seeds=[4],
        )
        steps = [environments.reset(0)]
        for action in (1, 2, 3, 0):
            actions = np.full(steps[0].shape[:2], action)
            steps.append(environments.step(actions).next_obs)
        environments.close()
        observations.append(np.array(steps))
    np.testing.assert_array_equal(*observations)


def test_a_lost_life_terminates_what_is_learned_but_not_the_game(tmp_path):
    words = [
        *("env=atari", "env.game=Breakout", "env.kwargs.size=8", "env.kwargs.sticky=0", "network/torso=mlp"),
        *("env.life_loss_is_terminal=true", "network.torso.hidden_sizes=[4]", "memory/reader=one_step"),
        *("runner.total_steps=200", "runner.iteration_length=200", "runner.learning_starts=200"),
        *(
            "runner.eval_episodes=0",
            "memory.capacity=1000",
            "schedule=constant",
            "schedule.value=1",
            "seed=1",
        ),
    ]
    runner = make_runner(tmp_path, words)
    runner.run()
    ring = runner.memory.ring
    ends = ring.end[: ring.filled[0]]
    lost = np.flatnonzero(ends == LOST)
    assert len(lost) > 1
    assert ends[ends != CONTINUES].tolist() == [LOST] * len(lost) + [TRUNCATED, CLOSING]
    assert ring.episodes.tolist() == [1]
    discount = NStep(n_step=1, gamma=0.99)(ring, np.arange(200)[None]).discount[0]
    assert np.flatnonzero(discount == 0).tolist() == lost.tolist()
