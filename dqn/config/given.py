"""The argument `env` of Python's functions: a class of environments, or a function that makes one."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium

from dqn.env import NAMESPACE, MakeEnv, given, given_now, id_of
from dqn.errors import UserError, one_line
from dqn.storage.folder import RunFolder

ENVIRONMENT = re.compile(r"[+~]*env(\.id|\.module)?\s*=")
"""Overrides that name an environment too."""

_OF_RUNS: dict[Path, MakeEnv] = {}
"""The arguments `env` of this process, by run folder; later calls about the run need not repeat them."""


@contextmanager
def environment_of(folder: RunFolder, env: MakeEnv | None) -> Iterator[None]:
    """Make a run's environments by `env`; None: by what this process was given for it before, if anything.

    Raises:
        UserError: `env` is neither a class nor a function.
    """
    if env is not None:
        refuse_other(env)
        remember(folder, env)
    with given(_OF_RUNS.get(folder.path)):
        yield


def remember(folder: RunFolder, env: MakeEnv | None) -> None:
    """Keep for later calls what the environments of a run are made by; None: what their id names."""
    if env is None:
        _OF_RUNS.pop(folder.path, None)
    else:
        _OF_RUNS[folder.path] = env


def refuse_registered(config: dict[str, Any]) -> None:
    """Raise UserError if an environment was given for a run that has a registered one."""
    id, env = config["env"]["id"], given_now()
    if env is not None and ":" not in id and not id.startswith(NAMESPACE):
        raise UserError(f"env={id_of(env)}: should be left out; the run has the registered {id}")


def overrides_for(env: MakeEnv | None, overrides: Sequence[str]) -> list[str]:
    """Return overrides that train on `env`: those given, after a choice of the environment.

    Raises:
        UserError: `env` is neither a class nor a function, or an override names an environment too.
    """
    if env is None:
        return list(overrides)
    refuse_other(env)
    for override in overrides:
        if ENVIRONMENT.match(override):
            raise UserError(f"{override}: should be left out; the argument `env` gives the environment")
    return ["env=base", f"env.id={id_of(env)}", *overrides]


def refuse_other(env: Any) -> None:
    """Raise UserError if `env` is neither a class nor a function."""
    should = "should be a class of environments, or a function that makes one"
    if isinstance(env, str):
        advice = f'the override "env.id={env}" chooses a registered environment'
        raise UserError(f"env={env!r}: {should}; {advice}")
    if isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv):
        raise UserError(f"env={one_line(env)}: {should}: the run makes several environments")
    if not callable(env):
        raise UserError(f"env={one_line(env)}: {should}")
