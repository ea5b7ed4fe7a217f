"""From a composed configuration to a run that was checked; nothing is made or changed yet."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dqn.config.compose import COMPOSING, mistakes
from dqn.config.trust import refuse_older
from dqn.errors import UserError, first_line
from dqn.storage.flatten import leaves
from dqn.storage.folder import RunFolder

Config = dict[str, Any]
TOTALS = ("runner.total_steps", "runner.total_episodes")


@dataclass(frozen=True, kw_only=True)
class CheckedRun:
    """A run that nothing speaks against."""

    config: Config
    """Resolved and checked."""
    folder: RunFolder
    """New, or that of a run with the same configuration (or a smaller total), which then goes on."""
    overrides: list[str]
    """As on the command line, for the record."""
    warnings: list[str]


def run_id() -> str:
    """Return a name that no other run has, also of those that start in the same second."""
    return f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(3)}"


def choice(group: str, *, _root_: DictConfig) -> str:
    """Return the chosen option of a group as part of a name; a job's configuration has no Hydra node."""
    hydra = _root_.hydra if "hydra" in _root_ else HydraConfig.get()
    return str(hydra.runtime.choices[group]).replace("/", "_")


OmegaConf.register_new_resolver("run_id", run_id, use_cache=True)
OmegaConf.register_new_resolver("choice", choice)


def prepare(composed: DictConfig, overrides: list[str]) -> CheckedRun:
    """Return the run of a composed configuration, which has Hydra's own node.

    Raises:
        UserError: everything that is wrong with it.
    """
    with COMPOSING, hydra_config(composed):
        config = resolved(composed)
        folder = RunFolder(folder_of(composed, "hydra.run.dir"))
    return preflight(config, folder, overrides)


def preflight(config: Config, folder: RunFolder, overrides: list[str]) -> CheckedRun:
    """Return the run of a resolved configuration in a folder.

    Raises:
        UserError: everything that is wrong with it.
    """
    from dqn.config.validate import check  # imports torch

    report = check(config)
    report.raise_if_any()
    if folder.in_use():
        raise UserError(f"{folder.path}: in use by another process")
    if folder.config_file.exists():
        refuse_differences(config, folder)
    return CheckedRun(config=config, folder=folder, overrides=overrides, warnings=report.warnings)


@contextmanager
def hydra_config(composed: DictConfig) -> Iterator[None]:
    """Let `${hydra:...}` mean this configuration, as it does inside a job."""
    instance = HydraConfig.instance()
    before = instance.cfg
    instance.set_config(composed)
    try:
        yield
    finally:
        instance.cfg = before


def resolved(cfg: DictConfig) -> Config:
    """Return a composed configuration as plain data.

    Raises:
        UserError: interpolations lead nowhere, or values are missing.
    """
    raw: Config = {str(key): value for key, value in container(cfg, resolve=False).items() if key != "hydra"}
    problems = [problem for key, value in leaves(raw) if (problem := unresolved(cfg, key, value))]
    if problems:
        raise mistakes(problems, "the configuration")
    return {key: container(cfg[key], resolve=True) for key in raw}


def container(node: Any, *, resolve: bool) -> Any:
    return OmegaConf.to_container(node, resolve=resolve) if OmegaConf.is_config(node) else node


def unresolved(cfg: DictConfig, key: str, value: Any) -> str | None:
    """Return what is wrong with a value as it was composed, if it stands for none."""
    if value == "???":
        return f"{key}=???: should be given"
    if isinstance(value, str) and "${" in value:
        try:
            OmegaConf.select(cfg, key, throw_on_resolution_failure=True)
        except OmegaConfBaseException as error:
            return f"{key}={value}: {first_line(error)}"
    return None


def folder_of(config: DictConfig, key: str) -> Path:
    try:
        return Path(OmegaConf.select(config, key, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: should be a folder ({first_line(error)})") from None


def refuse_differences(config: Config, folder: RunFolder) -> None:
    """Raise UserError unless `config` is the folder's own, or it with a larger total."""
    refuse_older(folder)
    old, new = dict(leaves(folder.read_config())), dict(leaves(config))
    changes = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if key in TOTALS and isinstance(before, int) and isinstance(after, int) and after >= before:
            continue
        if before != after or (key in old) != (key in new):
            changes.append(f"{key}: {before} there, {after} here")
    if changes:
        advice = "only a larger total may be given; another hydra.run.dir makes a new run"
        raise UserError(
            "\n  ".join([f"{folder.path}: a run with another configuration ({advice}):", *changes])
        )
