"""Read the configuration of a run folder as untrusted data: it may name only known or trusted code."""

import re
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import yaml
from hydra._internal.utils import _locate as get_object  # hydra.utils.get_object logs what it raises

from dqn.config.commands import no_run
from dqn.config.paths import CONF
from dqn.errors import UserError, one_line
from dqn.storage.flatten import entries, leaves
from dqn.storage.folder import RunFolder
from dqn.storage.reader import refuse_special_files
from dqn.version import __version__

ENVIRONMENTS = "env._target_"
"""The only key that may name a class of environments: beside it, `id` and `module` are checked."""

OLDEST_READABLE = "0.2.0"
"""The first version whose run folders this version reads."""

WRAPPERS = frozenset(
    f"gymnasium.wrappers.{name}"
    for name in (
        *("AddRenderObservation", "AddWhiteNoise", "AtariPreprocessing", "Autoreset", "ClipAction"),
        *("ClipReward", "DelayObservation", "DiscretizeAction", "DiscretizeObservation", "DtypeObservation"),
        *("FilterObservation", "FlattenObservation", "FrameStackObservation", "GrayscaleObservation"),
        *("MaxAndSkipObservation", "NormalizeObservation", "NormalizeReward", "ObstructView"),
        *("RecordEpisodeStatistics", "RepeatAction", "RescaleAction", "RescaleObservation"),
        *("ReshapeObservation", "ResizeObservation", "StickyAction", "TimeAwareObservation", "TimeLimit"),
        *("TransformAction", "TransformObservation", "TransformReward"),
    )
)
"""Gymnasium's wrappers that a run may name: none of them writes files, opens windows or imports packages."""

VIEWS = frozenset({"minigrid.wrappers.FullyObsWrapper", "minigrid.wrappers.ViewSizeWrapper"})
"""MiniGrid's wrappers that a run may name, for the same reason."""

WRAPPER = re.compile(r"env\.(training_)?wrappers\[\d+\]\._target_")
"""The keys that may name them."""

NOT_OWN = sys.stdlib_module_names | {"gymnasium", "hydra", "numpy", "omegaconf", "pydantic", "yaml"}
"""Packages that no user has made; no message advises to trust one."""

PLAIN_ID = re.compile(r"([\w-]+/)?[\w.-]+")


@cache
def shipped_targets() -> frozenset[str]:
    """Return every `_target_` in conf/, except those of Hydra's own node, which no run has."""
    files = (path for path in CONF.rglob("*.yaml") if not path.is_relative_to(CONF / "hydra"))
    nodes = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]
    return frozenset(value for _, key, value in entries(nodes) if key == "_target_")


@cache
def named_by_environments(key: Literal["_target_", "module"]) -> frozenset[str]:
    """Return the classes of environments, or the packages to import, that the options of `env` name."""
    nodes = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CONF / "env").glob("*.yaml")]
    return frozenset(node[key] for node in nodes if node.get(key) is not None)


def refuse_others(folder: RunFolder) -> None:
    """Raise UserError if another version of this package made the folder, or if it has special files.

    The version is recorded, or follows from the format of the checkpoint. Names differ between versions, so
    this check comes before any advice to trust one.
    """
    from dqn.storage.schema import FORMAT  # imports pydantic

    refuse_special_files(folder.path)
    version = folder.stored_status().get("versions", {}).get("dqn", "")
    number = folder.checkpoint_format() or FORMAT
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})*", version) and parts(version) < parts(OLDEST_READABLE):
        made_by = f"dqn {version}"
    elif number != FORMAT:
        made_by = "dqn 0.1.0 or older" if number < FORMAT else "a newer version of dqn"
    else:
        return
    raise UserError(
        f"{folder.path}: made by {made_by}; this is dqn {__version__}, which cannot read it:"
        " install that version to continue it"
    )


def parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def load_config(folder: RunFolder, trust: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a run folder if nothing in it could run code or read this process.

    Args:
        folder: the run folder.
        trust: packages that the user trusts, which the configuration may name too.

    Raises:
        UserError: the configuration names other code; only trusted packages were imported to check this.
    """
    if not folder.config_file.exists():
        raise UserError(no_run(folder.path))
    refuse_others(folder)
    config = folder.read_config()
    for path, key, value in entries(config):
        if any(isinstance(one, str) and ("${" in one or one == "???") for one in (key, value)):
            raise refuse(
                folder, path, value, "a recorded configuration has no interpolations and no missing values"
            )
        if key == "_target_":
            check_target(folder, path, value, trust)
        elif isinstance(key, str) and re.fullmatch(r"_\w+_", key) and key != "_partial_":
            raise refuse(folder, path, value, "not a key of a recorded configuration")
    env = config.get("env")
    if not isinstance(env, dict) or not isinstance(config.get("seed"), int):
        raise UserError(f"{folder.config_file}: not the configuration of a run")
    check_environment(folder, env, trust)
    return config


def check_target(folder: RunFolder, path: str, value: Any, trust: Sequence[str]) -> None:
    """Raise UserError unless a `_target_` is part of this package or of a trusted one."""
    if not isinstance(value, str):
        raise refuse(folder, path, value, "not a name")
    if value in shipped_targets():
        if value in named_by_environments("_target_") and path != ENVIRONMENTS:
            raise refuse(folder, path, value, f"allowed only as {ENVIRONMENTS}")
    elif value in WRAPPERS | VIEWS and WRAPPER.fullmatch(path):
        return
    elif not trusted(value, trust):
        raise refuse(folder, path, value, f"no part of dqn {__version__}; {advice(value)}")
    elif not defined_in(value, trust):
        raise refuse(folder, path, value, f"imported by {package(value)}, not defined in it")


def check_environment(folder: RunFolder, env: dict[str, Any], trust: Sequence[str]) -> None:
    """Raise UserError if making environments would import a package that the user does not trust."""
    from dqn.env.makers import given_now  # imports Gymnasium

    module, id = env.get("module"), env.get("id")
    if module not in (None, *named_by_environments("module")) and not trusted(module, trust):
        raise refuse(folder, "env.module", module, f"imports a package; {advice(module)}")
    prefix, colon, name = str(id).rpartition(":")
    if not PLAIN_ID.fullmatch(name):
        raise refuse(folder, "env.id", id, "not the id of an environment")
    if colon and given_now() is None:
        check_imported(folder, str(id), trust)
    arguments = {key: env.get(key) for key in ("kwargs", "wrappers", "training_wrappers")}
    for key, value in leaves(arguments, "env"):
        prefix, colon, _ = str(value).partition(":")
        if isinstance(value, str) and colon and not trusted(prefix, trust):
            raise refuse(folder, key, value, f"may name code to import; {advice(prefix)}")


def check_imported(folder: RunFolder, id: str, trust: Sequence[str]) -> None:
    """Raise UserError unless an id names a trusted package, and no class or function of another one."""
    from dqn.env.makers import named

    package_name = id.rpartition(":")[0]
    if not trusted(package_name, trust):
        raise refuse(folder, "env.id", id, f"imports a package; {advice(package_name)}")
    try:
        maker = named(id)
    except Exception as error:
        raise UserError(f"env.id={id}: cannot be imported ({one_line(error)})") from None
    if maker is not None and not trusted(getattr(maker, "__module__", None), trust):
        raise refuse(folder, "env.id", id, f"imported by {package(package_name)}, not defined in it")


def own_packages(config: dict[str, Any]) -> list[str]:
    """Return the packages of a configuration's custom parts: neither this package nor named in conf/."""
    targets = [value for _, key, value in entries(config) if key == "_target_"]
    env = config.get("env", {})
    imported = [env.get("module"), str(env.get("id")).rpartition(":")[0]]
    known = shipped_targets() | WRAPPERS | VIEWS | named_by_environments("module")
    names = [name for name in (*targets, *imported) if name and name not in known]
    return sorted(set(map(package, names)))


def trusted(name: Any, trust: Sequence[str]) -> bool:
    """Return whether `name` is or lies in a trusted package; of this package only names in conf/ are."""
    mine = isinstance(name, str) and package(name) != "dqn"
    return mine and any(name == one or name.startswith(one + ".") for one in trust)


def defined_in(name: str, trust: Sequence[str]) -> bool:
    """Return whether an object is defined in a trusted package, rather than imported there."""
    try:
        return trusted(getattr(get_object(name), "__module__", None), trust)
    except Exception as error:
        raise UserError(f"{name}: cannot be imported ({one_line(error)})") from None


def advice(name: Any) -> str:
    if package(name) in ("dqn", "torch"):
        return "another version of dqn may have made this run"
    if package(name) in NOT_OWN or not package(name).isidentifier():
        return "no run names it"  # to trust such a package would allow running any code
    return f"if {package(name)} is your own, add --trust {package(name)}"


def package(name: Any) -> str:
    return str(name).partition(".")[0]


def refuse(folder: RunFolder, key: str, value: Any, why: str) -> UserError:
    return UserError(f"{folder.config_file}: {one_line(key)}={one_line(value)} is refused: {why}")
