"""Check the keys and values of a configuration against the signatures of its parts.

The annotated signature of the class or function that a `_target_` names is the schema of its keys, so custom
parts are checked like the built-in ones.
"""

import inspect
import math
import re
import typing
from collections.abc import Callable
from inspect import Parameter
from types import UnionType
from typing import Any

import numpy as np
from hydra._internal.utils import _locate as get_object  # hydra.utils.get_object logs what it raises
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from dqn.config.groups import GIVEN, OFFERED, SOURCES
from dqn.config.nearest import closest
from dqn.config.paths import CONF
from dqn.errors import MISSING, WrongValue, format_value, one_line
from dqn.network import MakeModule

Node = dict[str, Any]

WRAPPER_LISTS = ("env.wrappers", "env.training_wrappers")
"""Keys of lists of parts to which the program passes their first argument."""
PART_LISTS = (*WRAPPER_LISTS, "callbacks")
"""Keys of all lists of parts."""
OPTIONAL_PARTS = ("network.core",)
"""Keys of parts that may be null."""
PART_DICTS = ("tracker",)
"""Keys of dicts of parts by name; several options of such a group may be chosen."""

MODULE_OFFERED = frozenset({"in_shape", "in_features"})
"""Arguments that the program passes to a module that takes them."""

IS_PART = "should be {_target_: CLASS, ARGUMENT: VALUE}"

KINDS = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}
"""The names of types in messages."""

WANTED = KINDS | {list: "a list", dict: "a dictionary, {NAME: VALUE}"}
EXPECTED = {kind.__name__.replace("str", "string"): f"should be {name}" for kind, name in WANTED.items()}
"""The messages about values of another type, by the start of the name of pydantic's error."""


def check_keys(
    node: Node,
    target: Callable[..., Any],
    parent: str,
    problems: list[WrongValue],
    offered: frozenset[str] = frozenset(),
) -> None:
    """Check the keys of a node, and of the nodes below it; replace values by those of the annotated types.

    Args:
        node: the node.
        target: the class or function that takes the keys as arguments.
        parent: the key of `node`; empty for the root.
        problems: gets all problems.
        offered: arguments that the program passes if the target takes them.
    """
    parameters = inspect.signature(target).parameters.values()
    open_ended = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
    named = {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    is_wrapper = is_listed(parent) and parent.startswith(WRAPPER_LISTS)
    offered |= OFFERED.get(parent, frozenset())
    given = frozenset([*named][:1]) if is_wrapper else GIVEN.get(parent, frozenset()) | offered & named.keys()
    prefix = f"{parent}." * bool(parent)
    hints = type_hints(target)
    for name, value in node.items():
        key = f"{prefix}{name}"
        if parent and name in ("_target_", "_partial_"):
            continue
        if name in given:
            source = f"{SOURCES[name]} sets it" if name in SOURCES else "the program sets it"
            problems.append(WrongValue(key, value, f"should be left out; {source}"))
        elif is_special(name) or (name not in named and not open_ended):
            keys = sorted(named.keys() - given, key=list(named).index)
            near = f"did you mean {prefix}{one}? " if (one := next(iter(closest(name, keys)), None)) else ""
            there = f"{f'{parent} has' if parent else 'there are'} {', '.join(keys) or 'none'}"
            problems.append(WrongValue(key, value, f"no such key; {near}{there}"))
        elif key in (*PART_LISTS, *PART_DICTS):
            check_several(value, key, problems)
        elif hints.get(name) is MakeModule:
            check_part(value, key, problems, offered=MODULE_OFFERED)
        elif key in GIVEN or (isinstance(value, dict) and "_target_" in value):
            check_part(value, key, problems)
        else:
            node[name] = check_value(key, value, hints.get(name, Any), problems)
    if parent not in GIVEN and node.get("_partial_"):
        return  # below a custom part, which passes further arguments, unknown here
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in node and name not in given:
            problems.append(WrongValue(f"{prefix}{name}", MISSING, should_be_given(f"{prefix}{name}")))
    if not open_ended and not given <= named.keys():
        should = f"should take the arguments {', '.join(sorted(given - named.keys()))}"
        problems.append(WrongValue(f"{prefix}_target_", node["_target_"], should))


def is_listed(key: str) -> bool:
    """Return whether a key is that of an entry in a list of parts, such as env.wrappers[0]."""
    return key.endswith("]") and key.partition("[")[0] in PART_LISTS


def is_named(key: str) -> bool:
    """Return whether a key is that of an entry in a dict of parts, such as tracker.csv."""
    return key.rpartition(".")[0] in PART_DICTS


def check_several(nodes: Any, key: str, problems: list[WrongValue]) -> None:
    """Check a list or a dict of parts."""
    if key in PART_LISTS and isinstance(nodes, list):
        entries = {f"{key}[{i}]": node for i, node in enumerate(nodes)}
    elif key in PART_DICTS and isinstance(nodes, dict) and "_target_" not in nodes:
        entries = {f"{key}.{name}": node for name, node in nodes.items()}
    else:
        is_list = "should be a list; " * (key in PART_LISTS)
        problems.append(WrongValue(key, nodes, is_list + should_be_given(key)))
        return
    for name, node in entries.items():
        check_part(node, name, problems)


def is_special(name: str) -> bool:
    """Return whether a key is reserved for Hydra."""
    return str(name).startswith("_") and str(name).endswith("_")


def should_be_given(key: str, value: object = None) -> str:
    if key in PART_LISTS:
        return f"should be given as {key}=[{{_target_: CLASS, ARGUMENT: VALUE}}]"
    if is_listed(key) or is_named(key):
        return IS_PART
    if is_listed(key.rpartition(".")[0]):
        return f"should be given as {key.rpartition('.')[2]}: VALUE"
    if key not in GIVEN and key not in PART_DICTS:
        return f"should be given as {key}=VALUE"
    group = key.replace(".", "/")
    option = f"{group}={value if (CONF / group / f'{value}.yaml').is_file() else 'OPTION'}"
    option = option if (CONF / group).is_dir() else "a _target_ and its keys"
    return f"should be given as {option}"


def check_part(
    node: Any, key: str, problems: list[WrongValue], offered: frozenset[str] = frozenset()
) -> None:
    """Check a node that makes an object: its `_target_` and its other keys; `offered` as in `check_keys`."""
    if node is None and key in OPTIONAL_PARTS:
        return
    if not isinstance(node, dict) or "_target_" not in node:
        problems.append(WrongValue(key, node, IS_PART if offered else should_be_given(key, node)))
        return
    if (offered or is_listed(key) or is_named(key)) and "_partial_" in node:
        problems.append(WrongValue(f"{key}._partial_", node["_partial_"], "should be left out"))
    try:
        target = get_object(node["_target_"])
        inspect.signature(target)
    except Exception as error:
        should = f"should name a class or a function ({one_line(error)})"
        problems.append(WrongValue(f"{key}._target_", node["_target_"], should))
        return
    if key in GIVEN and node.get("_partial_", False) is not bool(GIVEN[key]):
        right = "true: the program passes" if GIVEN[key] else "false: the program passes no"
        problems.append(WrongValue(f"{key}._partial_", node.get("_partial_"), f"should be {right} arguments"))
    check_keys(node, target, key, problems, offered)


def type_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a callable's parameters; none if they cannot be evaluated."""
    of = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(of, include_extras=True)
    except (NameError, TypeError):
        return {}


def in_yaml(hint: Any) -> Any:
    """Return the type of the YAML values for a type: numbers for NumPy's numbers, lists for its arrays."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return typing.Union[tuple(map(in_yaml, typing.get_args(hint)))]  # noqa: UP007
    if not inspect.isclass(typing.get_origin(hint) or hint):
        return hint
    for kind, written in ((np.integer, int), (np.floating, float), (np.ndarray, list[Any])):
        if issubclass(typing.get_origin(hint) or hint, kind):
            return written
    return hint


def check_value(key: str, value: Any, hint: Any, problems: list[WrongValue]) -> Any:
    """Return `value` converted to the type `hint`; if it is wrong, report that and return it unchanged."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(
            in_yaml(hint), config=ConfigDict(arbitrary_types_allowed=True)
        )
        converted = adapter.validate_python(value)
    except (PydanticUserError, TypeError):  # not a type of values
        return value
    except ValidationError as error:
        should = {message_of(one["type"], one["msg"], value) for one in error.errors()}
        errors = {one["type"] for one in error.errors() if one["loc"] in ((), ("float",))}
        instead = how_to_type(key, value, errors, may_be_null=type(None) in typing.get_args(hint))
        problems.append(WrongValue(key, value, " or ".join(sorted(should)) + instead))
        return value
    if not same_kind(value, converted):
        problems.append(WrongValue(key, value, f"should be {kind_of(converted)}, not {kind_of(value)}"))
        return value
    return list(converted) if isinstance(value, list) and isinstance(converted, tuple) else converted


def message_of(error: str, message: str, value: Any) -> str:
    """Return what a value should be, from the type and the message of pydantic's error."""
    if isinstance(value, float) and not math.isfinite(value):
        return "should be a finite number"
    kind = re.sub(r"_(type|parsing|from_float)$", "", error)
    if kind in EXPECTED:
        return EXPECTED[kind]
    if error == "predicate_failed":  # only `name` has a predicate
        return "should be the name of one folder, without /"
    return message.removeprefix("Value error, ").replace("Input should be", "should be")


def how_to_type(key: str, value: Any, errors: set[str], *, may_be_null: bool) -> str:
    """Return how to type a value of the kind that pydantic's errors ask for; "" without such advice."""
    text = ",".join(map(format_value, value if isinstance(value, list) else [value]))
    kinds = {}
    if text == "None" and may_be_null:
        kinds = dict.fromkeys(errors, f"{key}=null")
    elif isinstance(value, list):
        kinds = dict.fromkeys(("int_type", "float_type"), f"-m {key}={text}")
    elif value is not None:
        kinds = {"list_type": f"'{key}=[{text}]'", "dict_type": f"'+{key}={{NAME: VALUE}}'"}
        kinds |= {"string_type": f"\"{key}='{text}'\""} if isinstance(value, int | float) else {}
    return next((f"; type {kinds[one]}" for one in sorted(errors) if one in kinds), "")


def same_kind(before: Any, after: Any) -> bool:
    """Return whether a conversion kept text as text and booleans as booleans."""
    if isinstance(before, list) and isinstance(after, list | tuple):
        return all(map(same_kind, before, after))
    return all(isinstance(before, kind) == isinstance(after, kind) for kind in (str, bool))


def kind_of(value: Any) -> str:
    return KINDS.get(type(value), type(value).__name__)
