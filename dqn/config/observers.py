"""Make the callbacks and trackers of a configuration."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from dqn.config.parts import make
from dqn.errors import UserError, WrongValue, one_line
from dqn.runner import Callback
from dqn.tracking.trackers import Tracker

Config = dict[str, Any]
T = TypeVar("T")


def make_callbacks(nodes: Sequence[Config]) -> list[Callback]:
    """Return the callbacks of a configuration; WrongValue if one is wrong."""
    keys = [f"callbacks[{i}]" for i in range(len(nodes))]
    made = [make_one(node, key, Callback, "dqn.runner") for key, node in zip(keys, nodes, strict=True)]
    for key, one in zip(keys, made, strict=True):
        period = one.update_period
        if type(period) is not int or period < 0:
            raise WrongValue(f"{key}.update_period", period, "should be a whole number of at least 0")
    return made


def make_trackers(nodes: Mapping[str, Config]) -> dict[str, Tracker]:
    """Return the trackers of a configuration by name; WrongValue if one is wrong or lacks its package."""
    return {
        name: make_one(node, f"tracker.{name}", Tracker, "dqn.tracking.trackers")
        for name, node in nodes.items()
    }


def make_one(node: Config, key: str, kind: type[T], package: str) -> T:
    """Return the object of a node; WrongValue if it cannot be created or is no instance of `kind`."""
    try:
        made = make(node)
    except Exception as error:
        cause = error.__cause__
        reason = str(cause) if isinstance(cause, UserError) else f"cannot be created ({one_line(error)})"
        raise WrongValue(key, node, reason) from None
    if not isinstance(made, kind):
        should = f"should be a subclass of {package}.{kind.__name__}, not {type(made).__name__}"
        raise WrongValue(f"{key}._target_", node["_target_"], should)
    return made
