"""A run folder from elsewhere is data: what it may name, and how it is read."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import yaml
from hydra._internal.utils import _locate as get_object  # hydra.utils.get_object logs what it raises

from dqn.config.paths import CONF
from dqn.errors import UserError
from dqn.storage.flatten import entries, leaves
from dqn.storage.folder import RunFolder
from dqn.version import __version__

ENVIRONMENTS = "env._target_"
"""The one place of what makes environments: there `id` and `module`, which name code, are looked at."""

OLDEST_READABLE = "0.2.0"
"""The first version whose run folders this one reads."""
WRAPPERS = frozenset(
    f"gymnasium.wrappers.{name}Observation"
    for name in (
        *("AddRender", "Delay", "Discretize", "Dtype", "Filter", "Flatten", "FrameStack", "Grayscale"),
        *("MaxAndSkip", "Normalize", "Rescale", "Reshape", "Resize", "TimeAware", "Transform"),
    )
) | frozenset(
    f"gymnasium.wrappers.{name}"
    for name in (
        *(
            "ClipAction",
            "DiscretizeAction",
            "RepeatAction",
            "RescaleAction",
            "StickyAction",
            "TransformAction",
        ),
        *("ClipReward", "NormalizeReward", "TransformReward", "AddWhiteNoise", "ObstructView"),
        *("AtariPreprocessing", "Autoreset", "RecordEpisodeStatistics", "TimeLimit"),
    )
)
"""Gymnasium's wrappers that a run may name: none that writes files, opens windows or imports packages."""

WRAPPER = re.compile(r"env\.(training_)?wrappers\[\d+\]\._target_")
"""The places of wrappers."""

PLAIN = (str, int, float, bool, list, dict, type(None))
PLAIN_ID = re.compile(r"([\w-]+/)?[\w.-]+")


@cache
def shipped_targets() -> frozenset[str]:
    """Return every `_target_` that stands in conf/ but for Hydra's own node, which no run has."""
    files = (path for path in CONF.rglob("*.yaml") if not path.is_relative_to(CONF / "hydra"))
    documents = (yaml.safe_load(path.read_text()) or {} for path in files)
    return frozenset(
        value for document in documents for key, value in leaves(document) if key.endswith("_target_")
    )


@cache
def shipped_environments() -> frozenset[str]:
    """Return every `_target_` of conf/env."""
    documents = (yaml.safe_load(path.read_text()) or {} for path in (CONF / "env").glob("*.yaml"))
    return frozenset(str(document["_target_"]) for document in documents if "_target_" in document)


def refuse_older(folder: RunFolder) -> None:
    """Raise UserError if an older version of this package made the folder, whose names and files differ."""
    versions = folder.stored_status().get("versions")
    made_by = str(versions.get("dqn")) if isinstance(versions, dict) else ""
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})*", made_by) and parts(made_by) < parts(OLDEST_READABLE):
        raise UserError(
            f"{folder.path}: made by dqn {made_by}; this is dqn {__version__}, which cannot read it:"
            " install that version to go on with it"
        )


def parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def load_config(folder: RunFolder, trust: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a run folder, if it names nothing that could run code or read this process.

    Args:
        folder: the run.
        trust: packages of the user's own, which the configuration may name too.

    Raises:
        UserError: it names something else; nothing but trusted packages was imported to find out.
    """
    refuse_older(folder)
    config = folder.read_config()
    links = [path for path in folder.path.rglob("*") if path.is_symlink()]
    if links:
        raise UserError(
            f"{links[0]}: a symbolic link, which a run folder has none of; writing would follow it"
        )
    for path, key, value in entries(config):
        if not isinstance(key, str | int) or not isinstance(value, PLAIN):
            raise refuse(folder, path, value, "not plain data")
        if any(isinstance(one, str) and ("${" in one or one == "???") for one in (key, value)):
            raise refuse(folder, path, value, "a recorded configuration has no interpolations and no gaps")
        if key == "_target_":
            check_target(folder, path, value, trust)
        elif isinstance(key, str) and re.fullmatch(r"_\w+_", key) and key != "_partial_":
            raise refuse(folder, path, value, "not a key of a recorded configuration")
    check_environment(folder, config.get("env"), trust)
    if not isinstance(config.get("seed"), int):
        raise UserError(f"{folder.config_file}: not the configuration of a run")
    return config


def check_target(folder: RunFolder, path: str, value: Any, trust: Sequence[str]) -> None:
    """Raise UserError unless a `_target_` is shipped with this package or the user's own."""
    if not isinstance(value, str):
        raise refuse(folder, path, value, "not a name")
    if value in shipped_targets():
        if value in shipped_environments() and path != ENVIRONMENTS:
            raise refuse(folder, path, value, f"belongs to {ENVIRONMENTS}")
    elif value in WRAPPERS and WRAPPER.fullmatch(path):
        return
    elif not trusted(value, trust):
        raise refuse(folder, path, value, f"no part of dqn {__version__}; {advice(value)}")
    elif not defined_in(value, trust):
        raise refuse(folder, path, value, f"only imported by {package(value)}, not defined there")


def check_environment(folder: RunFolder, env: Any, trust: Sequence[str]) -> None:
    """Raise UserError if environments would import a package that the user does not trust."""
    if not isinstance(env, dict):
        raise UserError(f"{folder.config_file}: not the configuration of a run")
    module, id = env.get("module"), env.get("id")
    if module is not None and not trusted(module, trust):
        raise refuse(folder, "env.module", module, f"imports a package; {advice(module)}")
    prefix, colon, name = str(id).rpartition(":")
    if not PLAIN_ID.fullmatch(name):
        raise refuse(folder, "env.id", id, "not the id of an environment")
    if colon and not trusted(prefix, trust):
        raise refuse(folder, "env.id", id, f"imports a package; {advice(prefix)}")
    arguments = {key: env.get(key) for key in ("kwargs", "wrappers", "training_wrappers")}
    for key, value in leaves(arguments, "env"):
        if isinstance(value, str) and ":" in value and not trusted(value.partition(":")[0], trust):
            raise refuse(folder, key, value, f"could name code to import; {advice(value.partition(':')[0])}")


def own_packages(config: dict[str, Any]) -> list[str]:
    """Return the packages, neither this one nor what conf/ names, that a configuration's parts are of."""
    targets = [value for _, key, value in entries(config) if key == "_target_"]
    env = config.get("env", {})
    imported = [env.get("module"), str(env.get("id")).rpartition(":")[0]]
    names = [name for name in (*targets, *imported) if name and name not in shipped_targets() | WRAPPERS]
    return sorted(set(map(package, names)))


def trusted(name: Any, trust: Sequence[str]) -> bool:
    """Return whether `name` is one of the packages, or in one; this package's own names are all in conf/."""
    mine = isinstance(name, str) and package(name) != "dqn"
    return mine and any(name == one or name.startswith(one + ".") for one in trust)


def defined_in(name: str, trust: Sequence[str]) -> bool:
    """Return whether the object of that name is the trusted package's own and not one that it imports."""
    try:
        return trusted(getattr(get_object(name), "__module__", None), trust)
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"{name}: cannot be imported ({reason})") from None


def advice(name: Any) -> str:
    if package(name) in ("dqn", "torch"):  # which nobody should trust with every name in it
        return "another version of dqn may have made this run"
    return f"if {package(name)} is your own: --trust {package(name)}"


def package(name: Any) -> str:
    return str(name).partition(".")[0]


def refuse(folder: RunFolder, key: str, value: Any, why: str) -> UserError:
    return UserError(f"{folder.config_file}: {key}={value} is refused: {why}")
