"""Nested dicts and lists, as of a configuration, as rows of dotted keys."""

from collections.abc import Iterator
from typing import Any


def entries(node: Any, path: str = "", *, lists: bool = True) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path, the key and the value of everything in nested dicts and lists, such as `a.b[0]`.

    Args:
        node: where to begin; a value that is neither has no entries.
        path: of `node`.
        lists: whether to look into lists, too.
    """
    if isinstance(node, dict):
        items = [(f"{path}.{key}" if path else str(key), key, value) for key, value in node.items()]
    elif isinstance(node, list) and lists:
        items = [(f"{path}[{index}]", index, value) for index, value in enumerate(node)]
    else:
        return
    for below, key, value in items:
        yield below, key, value
        yield from entries(value, below, lists=lists)


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of everything, `node` included, that is neither a dict nor a list."""
    if not isinstance(node, dict | list):
        yield path, node
    for below, _, value in entries(node, path):
        if not isinstance(value, dict | list):
            yield below, value


def settings(config: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and the values of a configuration; lists and empty dicts are values.

    An object has its class under its own key: `agent.backup: dqn.agent.Greedy`.
    """
    for path, key, value in entries(config, lists=False):
        if key == "_target_":
            yield path.rpartition(".")[0], value
        elif key != "_partial_" and (value == {} or not isinstance(value, dict)):
            yield path, value
