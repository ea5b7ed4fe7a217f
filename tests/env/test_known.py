"""Answers to environments that are not registered, or whose package is not installed."""

import sys

import pytest
from envs import FACTORY

from dqn.env import EnvFactory
from dqn.env.known import advice, no_such_game
from dqn.errors import WrongValue, install


@pytest.mark.parametrize(
    ("id", "option"),
    [
        ("ALE/MsPacman-v5", "type env=atari env.game=MsPacman"),
        ("Atari/Pong-v0", "type env=atari env.game=Pong"),
        ("PongNoFrameskip-v4", "type env=atari env.game=Pong"),
        ("MinAtar/SpaceInvaders-v1", "type env=minatar env.game=space_invaders"),
        ("MinAtar/breakout-v0", "type env=minatar env.game=breakout"),
        ("MiniGrid-DoorKey-5x5-v0", "type env=minigrid env.id=MiniGrid-DoorKey-5x5-v0"),
        ("BabyAI-GoToObj-v0", "type env=minigrid env.id=BabyAI-GoToObj-v0"),
        ("Corridor-v4", "env.module=PACKAGE names the package that registers it"),
    ],
)
def test_a_well_known_id_is_answered_with_its_option(id, option):
    assert advice(id) == option


GAMES = ["Boxing", "MsPacman", "Pong", "SpaceInvaders"]


@pytest.mark.parametrize(
    ("game", "answer"),
    [
        ("pong", "no such game; did you mean Pong?"),
        ("ms_pacman", "no such game; did you mean MsPacman?"),
        ("SpaceInvader", "no such game; did you mean SpaceInvaders?"),
        ("Chess", "no such game; there are Boxing, MsPacman, Pong, SpaceInvaders"),
        (None, "should be given as env.game=NAME, one of Boxing, MsPacman, Pong, SpaceInvaders"),
    ],
)
def test_a_wrong_game_is_answered_with_the_nearest(game, answer):
    assert no_such_game(game, GAMES) == answer


MINATAR = {"sticky": 0.1, "minimal_actions": True, "difficulty_ramping": True}


@pytest.mark.parametrize(
    ("package", "module", "id", "kwargs"),
    [
        ("ale_py", "dqn.env.atari", "Atari/Pong-v0", {}),
        ("cv2", "dqn.env.atari", "Atari/Pong-v0", {}),
        ("minatar", "dqn.env.minatar", "MinAtar/breakout-v1", MINATAR),
        ("minigrid", "minigrid", "MiniGrid-Empty-5x5-v0", {}),
    ],
)
def test_a_missing_package_is_named_with_its_extra(package, module, id, kwargs, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    extra = module.rpartition(".")[2]
    if extra == "atari":  # MinAtar's module notices it when it makes a game
        monkeypatch.delitem(sys.modules, module, raising=False)
    factory = EnvFactory(id=id, kwargs=kwargs, **FACTORY | {"module": module})
    with pytest.raises(WrongValue) as error:
        factory.inspect()
    assert (error.value.key, error.value.value) == ("env.id", id)
    assert package in error.value.should
    assert error.value.should.endswith(f": {install(extra)}")
