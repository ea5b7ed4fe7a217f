"""MinAtar's games: equal to the package's own environment, seeded, and drawn."""

import logging
import sys

import gymnasium
import numpy as np
import pytest

from dqn.env.minatar import COLOURS, GAMES

VALUES = {"sticky": 0.1, "minimal_actions": True, "difficulty_ramping": True}


def make(game: str, **kwargs):
    return gymnasium.make(f"MinAtar/{game}-v1", **VALUES | kwargs)


@pytest.fixture
def reference(monkeypatch):
    """Return MinAtar's own class without the packages that it draws with, whose import takes seconds."""
    for name in ("matplotlib", "seaborn"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(logging, "warning", lambda *_: None)
    return pytest.importorskip("minatar").Environment


@pytest.mark.parametrize("minimal", [True, False])
@pytest.mark.parametrize("game", GAMES)
def test_a_game_equals_the_package_s_own(game, minimal, reference):
    theirs, ours = reference(game, sticky_action_prob=0.3), make(game, sticky=0.3, minimal_actions=minimal)
    choices = theirs.minimal_action_set() if minimal else range(6)
    assert ours.action_space.n == len(choices)
    theirs.seed(3)
    theirs.reset()
    obs, _ = ours.reset(seed=3)
    for action in np.random.default_rng(0).integers(len(choices), size=300).tolist():
        obs, reward, terminated, truncated, _ = ours.step(action)
        assert (reward, terminated) == theirs.act(choices[action])
        assert not truncated
        if terminated:
            theirs.reset()
            theirs.last_action = 0  # theirs may start an episode by the last action of the one before
            obs, _ = ours.reset()
        np.testing.assert_array_equal(obs, theirs.state())
        assert ours.observation_space.contains(obs)


@pytest.mark.parametrize("game", GAMES)
def test_a_seed_in_a_used_environment_plays_as_in_a_new_one(game):
    new, used = make(game, sticky=0.5), make(game, sticky=0.5)
    used.reset(seed=9)
    for _ in range(7):
        used.step(1)
    for env in (new, used):
        env.reset(seed=4)
    for action in np.random.default_rng(1).integers(new.action_space.n, size=60).tolist():
        (a, *left), (b, *right) = new.step(action), used.step(action)
        np.testing.assert_array_equal(a, b)
        assert left == right
        if left[1]:
            new.reset(), used.reset()


def test_each_channel_has_its_colour():
    env = make("breakout", render_mode="rgb_array")
    obs, _ = env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (160, 160, 3)
    for cell in np.ndindex(10, 10):
        channel = obs[cell].argmax() + 1 if obs[cell].any() else 0
        pixels = frame[cell[0] * 16 : cell[0] * 16 + 16, cell[1] * 16 : cell[1] * 16 + 16]
        assert (pixels == COLOURS[channel]).all()
    assert len(np.unique(COLOURS, axis=0)) == 11
    assert make("breakout").unwrapped.render() is None
