"""Flatten nested dicts, lists and tuples, such as a configuration, to dotted keys."""

from collections.abc import Iterator
from typing import Any


def entries(node: Any, path: str = "", *, lists: bool = True) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path, such as `a.b[0]`, the key and the value of each entry at any depth.

    Args:
        node: a dict, list or tuple; any other value has no entries.
        path: the path of `node`.
        lists: whether to descend into lists too.
    """
    if isinstance(node, dict):
        items = [(f"{path}.{key}" if path else str(key), key, value) for key, value in node.items()]
    elif isinstance(node, list | tuple) and lists:
        items = [(f"{path}[{index}]", index, value) for index, value in enumerate(node)]
    else:
        return
    for below, key, value in items:
        yield below, key, value
        yield from entries(value, below, lists=lists)


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each entry, or of `node` itself, that is no dict, list or tuple."""
    if not isinstance(node, dict | list | tuple):
        yield path, node
    for below, _, value in entries(node, path):
        if not isinstance(value, dict | list | tuple):
            yield below, value


def replaced(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a configuration with another value at a dotted key."""
    name, dot, rest = key.partition(".")
    return config | {name: replaced(config[name], rest, value) if dot else value}


def settings(config: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and the values of a configuration; lists and empty dicts count as values.

    The key of an object has its class as the value: `agent.backup`, `dqn.agent.Greedy`.
    """
    for path, key, value in entries(config, lists=False):
        if key == "_target_":
            yield path.rpartition(".")[0], value
        elif key != "_partial_" and (value == {} or not isinstance(value, dict)):
            yield path, value
