"""Make the environments of a configuration; its wrappers are partial objects, applied to each environment."""

import typing
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from types import UnionType
from typing import Any

import numpy as np
from hydra.utils import instantiate

from dqn.config.schema import WRAPPER_LISTS, type_hints
from dqn.env import EnvFactory, Environments, Wrapper
from dqn.errors import WrongValue, one_line

Config = dict[str, Any]


def env_factory(env: Config) -> EnvFactory:
    """Return the factory of single environments of the node `env`; WrongValue if a wrapper is wrong."""
    keys = {field.name for field in fields(EnvFactory)} & env.keys()
    return EnvFactory(**{key: env[key] for key in keys} | wrappers_of(env))


def make_environments(env: Config) -> Callable[..., Environments]:
    """Return the factory of the environments of all seeds."""
    wrappers = wrappers_of(env)
    return partial(instantiate(env | dict.fromkeys(wrappers), _convert_="all"), **wrappers)


def wrappers_of(env: Config) -> dict[str, Any]:
    keys = [key.removeprefix("env.") for key in WRAPPER_LISTS]
    return {key: [make_wrapper(node, f"env.{key}[{i}]") for i, node in enumerate(env[key])] for key in keys}


def make_wrapper(node: Config, key: str) -> Wrapper:
    """Return a wrapper that has all its arguments except the first, the environment."""
    try:
        made = instantiate(node | {"_partial_": True}, _convert_="all")
    except Exception as error:
        raise WrongValue(key, node, f"cannot be created ({one_line(error)})") from None
    hints = type_hints(made.func)
    arguments = {name: as_annotated(value, hints.get(name)) for name, value in made.keywords.items()}
    return partial(made.func, **arguments)


def as_annotated(value: Any, hint: Any) -> Any:
    """Return a list as the tuple or array that the annotation asks for; YAML has neither."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    kinds = {typing.get_origin(option) or option for option in options}
    if isinstance(value, list) and np.ndarray in kinds:
        return np.array(value, np.float32)
    return tuple(value) if isinstance(value, list) and tuple in kinds else value
