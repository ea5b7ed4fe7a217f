"""The keys and values of a configuration against what its parts take.

The annotated signature of what a `_target_` names is the schema of its keys, so a user's own part is checked
like the built-in ones.
"""

import inspect
import math
import typing
from collections.abc import Callable
from inspect import Parameter
from typing import Any, NamedTuple

from hydra._internal.utils import _locate as get_object  # hydra.utils.get_object logs what it raises
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from dqn.config.paths import CONF
from dqn.errors import format_value

Node = dict[str, Any]

GIVEN: dict[str, frozenset[str]] = {
    "": frozenset({"folder", "config"}),
    "env": frozenset({"seeds", "purpose"}),
    "network": frozenset({"spec", "generators"}),
    "network.torso": frozenset({"layer", "in_shape", "generators"}),
    "network.streams": frozenset({"layer", "in_features", "num_actions", "num_atoms", "generators"}),
    "network.head": frozenset({"make"}),
    "network.layer": frozenset({"in_features", "out_features", "generators"}),
    "memory": frozenset({"gamma", "spec", "seeds", "num_envs", "device"}),
    "memory.reader": frozenset({"gamma"}),
    "memory.sampler": frozenset({"ring", "seeds"}),
    "memory.sampler.beta": frozenset(),
    "schedule": frozenset(),
    "runner": frozenset(),
    "agent": frozenset({"network", "planned_updates", "spec", "seeds", "num_envs", "device"}),
    "agent.optimizer": frozenset({"params", "lr"}),
    "agent.lr_schedule": frozenset(),
    "agent.backup": frozenset(),
    "hydra.sweeper.sampler": frozenset(),
    "hydra.sweeper.pruner": frozenset(),
}
"""The places of the parts, and the arguments that each gets when it is built: those are no keys."""

SOURCES = {
    "gamma": "agent.gamma",
    "lr": "agent.lr",
    "num_envs": "env.num_envs",
    "seeds": "seed and num_seeds",
}
SOURCES |= {"device": "device", "network": "network", "layer": "network.layer"}
"""Where the arguments come from that a user could look for in the wrong place."""

MISSING = object()
"""The value of a key that is not there."""


class Problem(NamedTuple):
    key: str
    value: Any
    should: str

    def __str__(self) -> str:
        value = " is missing" if self.value is MISSING else f"={format_value(self.value)}"
        return f"{self.key}{value}: {self.should}"


def check_keys(node: Node, target: Callable[..., Any], place: str, problems: list[Problem]) -> None:
    """Check the keys of `node` against the signature of `target`, and those of the nodes below it."""
    parameters = inspect.signature(target).parameters.values()
    open_ended = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
    named = {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    given = GIVEN.get(place, frozenset())
    prefix = f"{place}." * bool(place)
    hints = type_hints(target)
    for name, value in node.items():
        key = f"{prefix}{name}"
        if name in ("_target_", "_partial_"):
            continue
        if name in given:
            source = f"{SOURCES[name]} sets it" if name in SOURCES else "the program sets it"
            problems.append(Problem(key, value, f"should be left out; {source}"))
        elif is_special(name) or (name not in named and not open_ended):
            keys = ", ".join(sorted(named.keys() - given, key=list(named).index)) or "none"
            problems.append(Problem(key, value, f"no such key; {place or 'the configuration'} has {keys}"))
        elif key in GIVEN or (isinstance(value, dict) and "_target_" in value):
            check_part(value, key, problems)
        else:
            node[name] = check_value(key, value, hints.get(name, Any), problems)
    if place not in GIVEN and node.get("_partial_"):
        return  # a part of a user's part, which gives it arguments that are not known here
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in node and name not in given:
            problems.append(Problem(f"{prefix}{name}", MISSING, should_be_given(f"{prefix}{name}")))
    if not open_ended and not given <= named.keys():
        lacking = ", ".join(sorted(given - named.keys()))
        problems.append(
            Problem(f"{prefix}_target_", node["_target_"], f"should take the arguments {lacking}")
        )


def is_special(name: str) -> bool:
    """Return whether Hydra would give a key a meaning of its own."""
    return str(name).startswith("_") and str(name).endswith("_")


def should_be_given(key: str) -> str:
    if key not in GIVEN:
        return f"should be given as {key}=VALUE"
    group = key.replace(".", "/")
    option = f"{group}=OPTION" if (CONF / group).is_dir() else "a _target_ and its keys"
    return f"should be given as {option}"


def check_part(node: Any, place: str, problems: list[Problem]) -> None:
    """Check a node that makes an object: what it names and its keys."""
    if not isinstance(node, dict) or "_target_" not in node:
        problems.append(Problem(place, node, should_be_given(place)))
        return
    try:
        target = get_object(node["_target_"])
        inspect.signature(target)
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())
        why = f"should name a class or a function ({reason})"
        problems.append(Problem(f"{place}._target_", node["_target_"], why))
        return
    if place in GIVEN and node.get("_partial_", False) is not bool(GIVEN[place]):
        right = "true: the program gives" if GIVEN[place] else "false: the program gives no"
        problems.append(Problem(f"{place}._partial_", node.get("_partial_"), f"should be {right} arguments"))
    check_keys(node, target, place, problems)


def type_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a callable's parameters, with their value types."""
    of = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(of, include_extras=True)
    except (NameError, TypeError):
        return {}


def check_value(key: str, value: Any, hint: Any, problems: list[Problem]) -> Any:
    """Return `value` as `hint` wants it, or report what it should be."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
        converted = adapter.validate_python(value)
    except (PydanticUserError, TypeError):  # not a type of values
        return value
    except ValidationError as error:
        should = {told(one["type"], one["msg"], value) for one in error.errors()}
        problems.append(Problem(key, value, " or ".join(sorted(should))))
        return value
    if not same_kind(value, converted):
        problems.append(Problem(key, value, f"should be {kind(converted)}, not {kind(value)}"))
        return value
    return list(converted) if isinstance(value, list) and isinstance(converted, tuple) else converted


def told(error: str, message: str, value: Any) -> str:
    """Return a message of pydantic's as what the value should be."""
    if isinstance(value, float) and not math.isfinite(value):
        return "should be a finite number"
    if error == "predicate_failed":  # the only predicate is that of the name
        return "should be the name of one folder, without /"
    return message.replace("Input should be", "should be")


def same_kind(before: Any, after: Any) -> bool:
    """Return whether a conversion kept text as text and truth values as such."""
    if isinstance(before, list) and isinstance(after, list | tuple):
        return all(map(same_kind, before, after))
    return isinstance(before, str) == isinstance(after, str) and isinstance(before, bool) == isinstance(
        after, bool
    )


def kind(value: Any) -> str:
    return {"bool": "true or false", "str": "text", "int": "a whole number", "float": "a number"}.get(
        type(value).__name__, type(value).__name__
    )
