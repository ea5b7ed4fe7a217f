"""Turn a composed configuration into a checked run, before any folder or file is created or changed."""

import re
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

from dqn.config.commands import command, is_command
from dqn.config.compose import COMPOSING, compose, mistakes
from dqn.config.overrides import in_shell
from dqn.config.trust import refuse_others
from dqn.errors import UserError, first_line, format_value, one_line
from dqn.storage.flatten import leaves, replaced, settings
from dqn.storage.folder import RunFolder

Config = dict[str, Any]
TOTALS = ("runner.total_steps", "runner.total_episodes")
"""Keys that may grow when a run is resumed."""
FREE = re.compile(r"runner\.(eval_\w+|histogram_period|video_period)|env\.vectorization|num_threads|device")
"""Keys that may change when a run is resumed: training depends on them in its rounding at most."""

FOLLOWS = "agent.lr_schedule.duration"
"""Key that is the total as composed; a run that is resumed with a larger total keeps its value."""

MAX_NAME = 40
"""Most characters of a value in the name of a run folder."""


@dataclass(frozen=True, kw_only=True)
class CheckedRun:
    """A run whose configuration and folder were checked."""

    config: Config
    """The resolved configuration."""
    folder: RunFolder
    """A new folder, or that of a run to be continued."""
    overrides: list[str]
    """The overrides of the command line, to be recorded."""
    warnings: list[str]


def run_id() -> str:
    """Return a unique end of a name, even among runs that start in the same second."""
    return f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(3)}"


def file_name(text: str) -> str:
    """Return text that every file system and shell accepts in a name: ASCII, no slash, no space."""
    inner = re.sub(r"[^\w.+-]+", "-", text.strip("[]{}()'\" "), flags=re.ASCII)
    return inner[:MAX_NAME].lstrip(".")


def choice(group: str, *, _root_: DictConfig) -> str:
    """Return the chosen option of a group for use in a name; a job's configuration has no Hydra node."""
    hydra = _root_.hydra if "hydra" in _root_ else HydraConfig.get()
    return str(hydra.runtime.choices[group]).replace("/", "_")


OmegaConf.register_new_resolver("run_id", run_id, use_cache=True)
OmegaConf.register_new_resolver("choice", choice)
OmegaConf.register_new_resolver("file_name", lambda value: file_name(str(value)))


def prepare(composed: DictConfig, overrides: list[str]) -> CheckedRun:
    """Return the run of a configuration with Hydra's own node; raise UserError with all its problems."""
    with COMPOSING, hydra_config(composed):
        config = resolved(composed)
        folder = RunFolder(folder_of(composed, "hydra.run.dir"))
    return preflight(config, folder, overrides)


def preflight(config: Config, folder: RunFolder, overrides: list[str]) -> CheckedRun:
    """Return the run of a resolved configuration in a folder; raise UserError with all its problems."""
    from dqn.config.validate import check  # imports torch

    report = check(config, folder=folder.path)
    report.raise_if_any()
    if folder.config_file.exists():
        config = continued(config, folder)
    if folder.in_use():
        raise UserError(f"{folder.path}: in use by another process")
    return CheckedRun(config=config, folder=folder, overrides=overrides, warnings=report.warnings)


@contextmanager
def hydra_config(composed: DictConfig) -> Iterator[None]:
    """Resolve `${hydra:...}` from this configuration, as inside a job."""
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
        UserError: values are missing, or interpolations cannot be resolved.
    """
    raw: Any = OmegaConf.to_container(cfg)
    raw.pop("hydra", None)
    problems = []
    for key, value in leaves(raw):
        try:
            if value == "???":
                form = "" if "[" in key else f" as {key}=VALUE"
                problems.append(f"{key}=???: should be given{form}")
            elif isinstance(value, str) and "${" in value:
                OmegaConf.select(cfg, key)
        except OmegaConfBaseException as error:
            problems.append(f"{key}={value}: {first_line(error)}")
    if problems:
        raise mistakes(problems, "the configuration")
    return {str(key): plain(cfg[key]) for key in raw}


def plain(node: Any) -> Any:
    """Return a node as dicts, lists and values, with its interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def folder_of(config: DictConfig, key: str) -> Path:
    try:
        folder = Path(OmegaConf.select(config, key, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: should be a folder ({first_line(error)})") from None
    if folder.parts[:1] == ("~",):
        raise UserError(f"{key}={folder}: the shell expands no ~ here; type {key}={folder.expanduser()}")
    return folder


def keep_duration(config: Config, folder: RunFolder) -> Config:
    """Return the configuration with the stored duration of the lr schedule, if both follow their totals."""
    old, new = dict(leaves(folder.read_config())), dict(leaves(config))
    follows = FOLLOWS in old and FOLLOWS in new
    follows = follows and any(old[FOLLOWS] == old.get(key) and new[FOLLOWS] == new.get(key) for key in TOTALS)
    return replaced(config, FOLLOWS, old[FOLLOWS]) if follows else config


def continued(config: Config, folder: RunFolder) -> Config:
    """Return `config` as the run in the folder continues with it.

    Raises:
        UserError: the run cannot continue with it.
    """
    refuse_others(folder)
    config = keep_duration(config, folder)
    old, new = dict(leaves(folder.read_config())), dict(leaves(config))
    changed = [key for key in sorted(old.keys() | new.keys()) if not may_change(key, old, new)]
    if changed:
        allowed = "a larger total, other evaluations, histograms or videos, another device"
        allowed += ", env.vectorization and num_threads"
        problem = f"another run's configuration; a resumed run may have {allowed}"
        lines = [f"{one_line(key)}: {one_line(old.get(key))} there, {new.get(key)} here" for key in changed]
        raise UserError("\n  ".join([f"{folder.path}: {problem}:", *lines, from_scratch(config, folder)]))
    return config


def may_change(key: str, old: Config, new: Config) -> bool:
    """Return whether a key has the same value, or may have the new one when the run is resumed."""
    if key not in old or key not in new:
        return False
    before, after = old[key], new[key]
    if FREE.fullmatch(key):
        return True
    if key in TOTALS and isinstance(before, int) and isinstance(after, int):
        return after >= before
    return bool(before == after)


def from_scratch(config: Config, folder: RunFolder) -> str:
    """Return how to train a new run with `config`; in full if the recorded overrides lead to it."""
    path = folder.config_file.with_name("overrides.yaml")
    generic = (
        f"for a new run from scratch repeat the overrides in {path} with these and another hydra.run.dir"
    )
    old = dict(settings(folder.read_config()))
    changed = {key: value for key, value in settings(config) if value != old.get(key)}
    recorded = [word for word in folder.read_overrides() if not re.match(r"[+~]*hydra\b", word)]
    words = [word for word in recorded if word.partition("=")[0] not in changed]
    words += [f"{key}={format_value(value)}" for key, value in changed.items()]
    try:
        same = resolved(compose(words).config) == config  # what is recorded could be anything
    except Exception:
        return generic
    from dqn.env.makers import NAMESPACE  # imports Gymnasium

    if not same or config["env"]["id"].startswith(NAMESPACE):
        return generic
    how = f"{command('train')} {' '.join(map(in_shell, words))}" if is_command() else f"dqn.train({words})"
    return f"a new run from scratch: {how}"
