"""Environments that Python code gives as a class or a function instead of a registered id."""

import importlib
import operator
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

MakeEnv = Callable[..., gymnasium.Env[Any, Any]]
"""A class of environments, or a function that makes one; its arguments are those in `env.kwargs`."""

NAMESPACE = "python/"
"""Start of the ids of environments that no other process can import by name."""

_GIVEN: ContextVar[MakeEnv | None] = ContextVar("given", default=None)


@contextmanager
def given(maker: MakeEnv | None) -> Iterator[None]:
    """Make the factories that the body makes use `maker`; None: the environment that their id names."""
    token = _GIVEN.set(maker)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def given_now() -> MakeEnv | None:
    """Return the argument of the innermost `given` around the caller."""
    return _GIVEN.get()


def id_of(maker: MakeEnv) -> str:
    """Return the id of a class or function: "module:NAME" if that can be imported, else python/NAME."""
    module = str(getattr(maker, "__module__", None))
    name = getattr(maker, "__qualname__", type(maker).__qualname__)
    id = f"{module}:{name}"
    is_file = module != "__main__" and getattr(sys.modules.get(module), "__spec__", None) is not None
    if is_file and id.isascii() and named(id) is maker:
        return id
    return NAMESPACE + (re.sub(r"[^\w-]", "", name.rpartition(".")[2], flags=re.ASCII) or "environment")


def named(id: str) -> MakeEnv | None:
    """Return the class or function that "module:NAME" names; None for the id of a registered environment.

    This imports the module.
    """
    module, colon, name = id.rpartition(":")
    if not colon:
        return None
    imported = importlib.import_module(module)
    if name in gymnasium.registry:
        return None
    try:
        found = operator.attrgetter(name)(imported)
    except AttributeError:
        return None
    return found if callable(found) else None


def spec_of(id: str, maker: MakeEnv) -> EnvSpec:
    """Return the argument of gymnasium.make for an environment that is not registered."""
    if isinstance(maker, type):
        made: Any = maker  # Gymnasium's type has functions only
        return EnvSpec(id, entry_point=made)

    def make(**kwargs: Any) -> gymnasium.Env[Any, Any]:  # Gymnasium copies specs, functions by reference
        return maker(**kwargs)

    return EnvSpec(id, entry_point=make)
