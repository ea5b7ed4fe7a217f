"""Well-known environments: what to type or to install where one is not registered or lacks its package."""

import importlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator, parse_env_id

from dqn import atari_scores
from dqn.errors import WrongValue, install

EXTRAS = ("box2d", "atari", "minatar", "minigrid", "popgym")
"""Extras for environments; the module that needs one has its name."""

OPTIONS = (
    (r"(?:ALE|Atari)/(\w+)-v\d+", "env=atari env.game={0}"),
    (r"([A-Z]\w*?)(?:NoFrameskip|Deterministic)-v\d+", "env=atari env.game={0}"),
    (r"MinAtar/(\w+)-v\d+", "env=minatar env.game={1}"),
    (r"((?:MiniGrid|BabyAI)-.+)", "env=minigrid env.id={0}"),
    (r"(popgym-.+)", "env.id={0} env.module=popgym"),
)
"""Forms of well-known ids, and what to type instead: {0} is the name in the id, {1} that in small letters."""


def missing_package(id: str, module: str | None, error: Exception) -> WrongValue:
    """Return the error about an environment whose package is not installed."""
    known = gymnasium.registry.get(id)
    needs_it = f"{module} {known.entry_point if known else ''}"
    extra = next((extra for extra in EXTRAS if extra in needs_it), None)
    advice = "install what it names" if extra is None else install(extra)
    return WrongValue("env.id", id, f"a package is missing ({error}): {advice}")


def unregistered(id: str, module: str | None, game: str | None, error: Exception) -> WrongValue:
    """Return the error about an id that no imported package registers; `game` may be a part of it."""
    namespace, name, _ = parse_env_id(id)
    games = sorted({spec.name for spec in gymnasium.registry.values() if spec.namespace == namespace})
    if namespace and games and name == str(game):
        return WrongValue("env.game", game, no_such_game(game, games))
    should = f"should be a registered environment ({error})"
    return WrongValue("env.id", id, should if module else f"{should}; {advice(id)}")


def no_such_game(game: str | None, games: Sequence[str]) -> str:
    """Return the nearest of the names of `games`; all of them if none is near."""
    if game is None:
        return f"should be given as env.game=NAME, one of {', '.join(games)}"
    names = {letters(name): name for name in games}
    wanted = letters(game)
    near = [wanted] if wanted in names else get_close_matches(wanted, names)
    if near:
        return f"no such game; did you mean {' or '.join(names[one] for one in near)}?"
    return f"no such game; there are {', '.join(games)}"


def unused_game(env: Mapping[str, Any]) -> str | None:
    """Return what is wrong if `game` of the node `env` is a part of no other value there."""
    game, others = env.get("game"), {key: value for key, value in env.items() if key != "game"}
    if game is None or str(game) in str(others):
        return None
    should = f"should be null: env.id={env['id']} is not made of it"
    return f"{should}; env=atari and env=minatar choose an environment by its game"


def no_lives(id: str) -> str:
    """Return what is wrong with learning from lost lives that the steps of an environment do not report."""
    should = f'should be false: the first step of {id} reports no info["life_lost"]'
    return f"{should}; {advice(id) if id.startswith('ALE/') else 'each has to, as true or false'}"


def letters(name: str) -> str:
    """Return a name in small letters, without anything but letters and digits."""
    return re.sub(r"[\W_]", "", name).lower()


def advice(id: str) -> str:
    """Return what to type instead of an id alone."""
    found = choices(id)
    return f"type {' or '.join(found)}" if found else "env.module=PACKAGE names the package that registers it"


def choices(name: str) -> list[str]:
    """Return the overrides that choose the environments of a well-known id or game, such as pong."""
    for form, option in OPTIONS:
        if match := re.fullmatch(form, name):
            snake_case = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", match[1]).lower()
            return [option.format(match[1], snake_case)]
    from dqn.env import minatar  # it registers its games, which only their own runs need

    wanted = letters(re.sub(r"-v\d+$", "", name))
    games = {"atari": atari_scores.GAMES, "minatar": minatar.GAMES}
    return [
        f"env={option} env.game={one}" for option in games for one in games[option] if letters(one) == wanted
    ]


def own_class(id: str, module: str | None) -> tuple[type[Any], Mapping[str, Any]] | None:
    """Return the class of an environment of this package, and its arguments from the id; None for others."""
    if module is None or not module.startswith(f"{__package__}."):
        return None
    with suppress(ImportError, gymnasium.error.DependencyNotInstalled):  # making the environment reports it
        importlib.import_module(module)
    known = gymnasium.registry.get(id)
    if known is None or not str(known.entry_point).startswith(f"{module}:"):
        return None
    made_by: Any = load_env_creator(str(known.entry_point))
    return made_by, known.kwargs
