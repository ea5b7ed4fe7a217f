"""A run folder from elsewhere is data: what it may name, and how it is read."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import yaml
from hydra.utils import get_object

from dqn.config.paths import CONF
from dqn.errors import UserError
from dqn.runs import RunFolder

PLAIN_ID = re.compile(r"([\w-]+/)?[\w.-]+")


@cache
def shipped_targets() -> frozenset[str]:
    """Return every `_target_` that stands in conf/."""
    documents = (yaml.safe_load(path.read_text()) or {} for path in CONF.rglob("*.yaml"))
    return frozenset(
        value for document in documents for key, value in leaves(document) if key.endswith("_target_")
    )


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key (with its path) and value of nested dicts and lists that is neither."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from leaves(value, f"{path}[{index}]")
    else:
        yield path, node


def load_config(folder: RunFolder, trust: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a run folder, if it names nothing that could run code or read this process.

    Args:
        folder: the run.
        trust: packages of the user's own, which the configuration may name too.

    Raises:
        UserError: it names something else; nothing was imported to find out.
    """
    config = folder.read_config()
    for key, value in leaves(config):
        if "${" in key or (isinstance(value, str) and "${" in value):
            raise refuse(folder, key, value, "a recorded configuration has no interpolations")
        name = key.rsplit(".", 1)[-1]
        if name == "_target_":
            if value not in shipped_targets() and not (trusted(value, trust) and defined_in(value, trust)):
                raise refuse(folder, key, value, f"not part of dqn; trust={package(value)} allows it")
        elif re.fullmatch(r"_\w+_", name) and name != "_partial_":
            raise refuse(folder, key, value, "not a key of a recorded configuration")
    env = config.get("env")
    if not isinstance(env, dict) or not isinstance(config.get("seed"), int):
        raise UserError(f"{folder.config_file}: not the configuration of a run")
    if env.get("module") is not None and not trusted(env["module"], trust):
        why = f"imports a package of its own; trust={package(env['module'])} allows it"
        raise refuse(folder, "env.module", env["module"], why)
    if not PLAIN_ID.fullmatch(str(env.get("id"))):
        prefix = str(env.get("id")).partition(":")[0]
        if not trusted(prefix, trust):
            raise refuse(
                folder,
                "env.id",
                env.get("id"),
                f"imports a package of its own; trust={package(prefix)} allows it",
            )
    for key, value in leaves(env.get("kwargs"), "env.kwargs"):
        if isinstance(value, str) and ":" in value and not trusted(value.partition(":")[0], trust):
            raise refuse(folder, key, value, "could name code to import")
    return config


def trusted(name: Any, trust: Sequence[str]) -> bool:
    """Return whether `name` is one of the packages, or in one; this package's own names are all in conf/."""
    mine = isinstance(name, str) and package(name) != "dqn"
    return mine and any(name == one or name.startswith(one + ".") for one in trust)


def defined_in(name: str, trust: Sequence[str]) -> bool:
    """Return whether the object of that name is the trusted package's own and not one that it imports."""
    try:
        return trusted(getattr(get_object(name), "__module__", None), trust)
    except Exception as error:
        raise UserError(f"{name}: cannot be imported ({error})") from None


def package(name: Any) -> str:
    return str(name).partition(".")[0]


def refuse(folder: RunFolder, key: str, value: Any, why: str) -> UserError:
    return UserError(f"{folder.config_file}: {key}={value} is refused: {why}")
