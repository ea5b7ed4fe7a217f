"""An agent step in Atari games, ours and by Gymnasium's wrappers; both play the same games."""

from itertools import cycle
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from benchmarks.subjects import Call, paired
from benchmarks.table import Line
from benchmarks.whole import Setting
from dqn.config.compose import compose
from dqn.config.preflight import resolved
from dqn.config.wrappers import env_factory
from dqn.errors import UserError

GAMES = ("Breakout", "Pong", "Seaquest")
ACTIONS = 10_000
"""Random actions, which are then repeated."""


def atari(setting: Setting) -> list[Line]:
    """An agent step in Breakout, Pong and Seaquest, beside Gymnasium's AtariPreprocessing."""
    try:
        return [line for game in GAMES for line in steps(game, setting)]
    except UserError as error:
        print(f"left out: {error}")
        return []


def steps(game: str, setting: Setting) -> list[Line]:
    config = resolved(compose(["env=atari", f"env.game={game}", *setting.overrides]).config)["env"]
    ours = env_factory(config).make(training=False)  # imports ale-py, which registers the others
    envs = [ours, reference(game, config), FrameStackObservation(reference(game, config), 4)]
    mine, *others = paired([playing(env) for env in envs], setting.repeats, 0.01 if setting.quick else 1.0)
    for env in envs:
        env.close()
    return [
        Line(work=f"agent step, {game}", beside=name, ours=mine, theirs=costs, unit="µs CPU", most=most)
        for name, costs, most in zip(
            ("AtariPreprocessing", "the same with FrameStackObservation"), others, (0.8, None), strict=True
        )
    ]


def reference(game: str, config: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    kwargs = config["kwargs"]
    env = gymnasium.make(
        f"ALE/{game}-v5", frameskip=1, repeat_action_probability=kwargs["sticky"], disable_env_checker=True
    )
    return AtariPreprocessing(
        env, noop_max=kwargs["noop_max"], frame_skip=kwargs["frame_skip"], screen_size=kwargs["size"]
    )


def playing(env: gymnasium.Env[Any, Any]) -> Call:
    """Return a call that makes the next of many random steps; it also restarts games that end."""
    count = env.action_space.n  # type: ignore[attr-defined]
    actions = cycle(np.random.default_rng(0).integers(count, size=ACTIONS).tolist())
    env.reset(seed=0)

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(next(actions))
        if terminated or truncated:
            env.reset()

    return step
