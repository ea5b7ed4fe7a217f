"""The environment of a configuration: its wrappers wait for the environment that they wrap."""

import typing
from collections.abc import Callable
from functools import partial
from types import UnionType
from typing import Any

import numpy as np
from hydra.utils import instantiate

from dqn.config.schema import PART_LISTS, type_hints
from dqn.env import EnvFactory, Environments, Wrapper
from dqn.errors import WrongValue

Config = dict[str, Any]


def env_factory(env: Config) -> EnvFactory:
    """Return what makes one environment.

    Args:
        env: the node `env` of a checked configuration.

    Raises:
        WrongValue: the arguments of a wrapper cannot be made.
    """
    keys = {key: env[key] for key in ("id", "module", "kwargs")}
    return EnvFactory(**keys, **wrappers_of(env))


def make_environments(env: Config) -> Callable[..., Environments]:
    """Return what makes the environments of all seeds, of the node `env` of a checked configuration."""
    wrappers = wrappers_of(env)
    make = instantiate(env | dict.fromkeys(wrappers), _convert_="all")
    return partial(make, **wrappers)


def wrappers_of(env: Config) -> dict[str, Any]:
    keys = [key.removeprefix("env.") for key in PART_LISTS]
    return {key: [make_wrapper(node, f"env.{key}[{i}]") for i, node in enumerate(env[key])] for key in keys}


def make_wrapper(node: Config, key: str) -> Wrapper:
    """Return a wrapper that has its arguments but for the environment, the first."""
    try:
        made = instantiate(node | {"_partial_": True}, _convert_="all")
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise WrongValue(key, node, f"cannot be made ({reason})") from None
    hints = type_hints(made.func)
    arguments = {name: as_annotated(value, hints.get(name)) for name, value in made.keywords.items()}
    return partial(made.func, **arguments)


def as_annotated(value: Any, hint: Any) -> Any:
    """Return a list as the tuple or the array that an argument should be; YAML has neither."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    kinds = {typing.get_origin(option) or option for option in options}
    if isinstance(value, list) and np.ndarray in kinds:
        return np.array(value, np.float32)
    return tuple(value) if isinstance(value, list) and tuple in kinds else value
