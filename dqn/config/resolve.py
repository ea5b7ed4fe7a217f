"""A composed configuration to plain data that was checked, and its folder."""

import secrets
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dqn.config.compose import mistakes
from dqn.errors import UserError, first_line
from dqn.storage.flatten import leaves
from dqn.storage.folder import RunFolder

Config = dict[str, Any]


def run_id() -> str:
    """Return a name that no other run has, also of those that start in the same second."""
    return f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(3)}"


OmegaConf.register_new_resolver("run_id", run_id, use_cache=True)


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


def verified(config: Config, folder: RunFolder) -> list[str]:
    """Return the warnings that a run deserves; nothing was made or changed.

    Raises:
        UserError: all that speaks against it.
    """
    from dqn.config.launch import refuse_differences
    from dqn.config.validate import check

    report = check(config)
    report.raise_if_any()
    if folder.in_use():
        raise UserError(f"{folder.path}: in use by another process")
    if folder.config_file.exists():
        refuse_differences(config, folder)
    return report.warnings


def folder_of(config: DictConfig, key: str) -> Path:
    try:
        return Path(OmegaConf.select(config, key, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: should be a folder ({first_line(error)})") from None
