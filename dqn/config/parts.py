"""Make the objects that the nodes of a configuration describe."""

import inspect
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from hydra._internal.utils import _locate as get_object  # hydra.utils.get_object logs what it raises
from hydra.utils import instantiate
from torch import nn

from dqn.config.schema import type_hints
from dqn.network import MakeModule

Config = dict[str, Any]


def make_module(node: Config, *, in_shape: Sequence[int]) -> nn.Module:
    """Return a new module as a node describes it, and all that the node contains."""
    taken = inspect.signature(get_object(node["_target_"])).parameters
    offered = {"in_shape": tuple(in_shape), "in_features": math.prod(in_shape)}
    module = instantiate(node | {"_partial_": True}, _convert_="all")
    made: nn.Module = module(**{name: value for name, value in offered.items() if name in taken})
    return made


def make(node: Config) -> Any:
    """Return the object, or the partial object, that a node describes."""
    return instantiate(with_makers(node), _convert_="all")


def with_makers(node: Any) -> Any:
    """Return a node in which makers replace the modules, so that each seed has one from its own generator."""
    if not isinstance(node, dict):
        return node
    hints = type_hints(get_object(node["_target_"])) if "_target_" in node else {}
    return {
        key: partial(make_module, value) if hints.get(key) is MakeModule else with_makers(value)
        for key, value in node.items()
    }
