"""Compose overrides by Hydra, without its global state and without torch, and report all mistakes at once.

Hydra itself reports the first mistake only, and in a multirun after it has made the folder.
"""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dqn.config.paths import CONF
from dqn.errors import UserError, first_line

StrPath = str | os.PathLike[str]
CANNOT_COMPOSE = (HydraException, OmegaConfBaseException, ValueError, TypeError)
CONFIG_NAME = "config"
SEARCHPATH = "hydra.searchpath"
NO_VALUES = "should have values: START, START + STEP, ... before STOP, which is none of them"
"""The message about a range that has no values."""

COMPOSING = threading.Lock()
"""Held while composing or resolving: Hydra keeps its compatible version and its own node in globals."""


class Composed(NamedTuple):
    """A composed configuration, with Hydra's own node, and the loader that composed it."""

    config: DictConfig
    loader: ConfigLoaderImpl

    @property
    def is_multirun(self) -> bool:
        return bool(self.config.hydra.mode == RunMode.MULTIRUN)


def mistakes(lines: Sequence[object], where: str) -> UserError:
    """Return all mistakes as one error."""
    count = f"{len(lines)} mistake{'s' * (len(lines) > 1)} in {where}"
    return UserError("\n  ".join([f"{count}:", *map(str, lines)]))


def compose(
    overrides: Sequence[str], *, multirun: bool = False, config_dir: StrPath | None = None
) -> Composed:
    """Return the configuration of overrides; of an override with several values, that of the first.

    Args:
        overrides: as on the command line.
        multirun: whether an override may have several values; a recipe may allow it too.
        config_dir: a user's folder of further options.

    Raises:
        UserError: some overrides do not compose; its text names each of them.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise mistakes([f"--config-dir {config_dir}: should be a folder"], "the command")
    with COMPOSING, hydra_globals():
        loader = make_loader(config_dir)
        config, problems = compose_valid(overrides, loader, multirun=multirun)
    if problems:
        raise mistakes(problems, "the command")
    return Composed(config, loader)


def make_loader(config_dir: StrPath | None) -> ConfigLoaderImpl:
    """Return what loads the options of conf/ and of a user's folder; `hydra.searchpath` may name more."""
    path = create_config_search_path(str(CONF))
    if config_dir is not None:  # where Hydra's own command line puts it
        folder = f"file://{os.path.abspath(config_dir)}"
        path.prepend("command-line", folder, anchor=SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(path)


@contextmanager
def hydra_globals() -> Iterator[None]:
    """Set Hydra's compatible version and register its resolvers; put the version back at the end."""
    base = version.VersionBase.instance()
    before = base.version_base
    version.setbase("1.3")
    setup_globals()  # the resolvers ${now:} and ${hydra:}
    try:
        yield
    finally:
        base.version_base = before


def compose_valid(
    texts: Sequence[str], loader: ConfigLoaderImpl, *, multirun: bool
) -> tuple[DictConfig, list[str]]:
    """Return the configuration of the overrides that compose, and what is wrong with the others."""
    parser = OverridesParser.create(config_loader=loader)
    overrides, problems = parse(texts, parser)
    searchpath = [str(one.input_line) for one in overrides if one.get_key_element() == SEARCHPATH]
    valid = []
    for override in overrides:
        problem = missing_folders(override) or empty_range(override)
        if problem := problem or wrong_option(override, loader, searchpath):
            problems.append(problem)
        else:
            valid.append(override)
    config, uncomposable = compose_most([first_value(one, parser) for one in valid], loader)
    problems += uncomposable
    if not multirun and config.hydra.mode != RunMode.MULTIRUN:
        sweeps = [override.input_line for override in valid if override.is_sweep_override()]
        problems += [f"{line}: should be one value; several need -m, or quotes in a text" for line in sweeps]
    return config, problems


def parse(texts: Sequence[str], parser: OverridesParser) -> tuple[list[Override], list[str]]:
    """Return the overrides in Hydra's grammar, and what is wrong with the others."""
    overrides: list[Override] = []
    problems: list[str] = []
    for text in texts:
        try:
            overrides += parser.parse_overrides([text])
        except HydraException as error:
            problems.append(f"{text}: should be KEY=VALUE in Hydra's grammar ({first_line(error)})")
    return overrides, problems


def missing_folders(override: Override) -> str | None:
    """Return which folders of a `hydra.searchpath` override do not exist."""
    value = override.value() if override.get_key_element() == SEARCHPATH else None
    paths = [str(path) for path in value] if isinstance(value, list) else []
    missing = [path for path in paths if not is_available(path)]
    return f"{override.input_line}: no such folder: {', '.join(missing)}" if missing else None


def is_available(searchpath: str) -> bool:
    scheme, colon, path = searchpath.rpartition("://")
    source = SourcesRegistry.instance().resolve(scheme if colon else "file")
    return source(provider="", path=f"{scheme or 'file'}://{path}").available()


def empty_range(override: Override) -> str | None:
    """Return what is wrong with a range that has no values."""
    if not override.is_range_sweep():
        return None
    try:
        first = next(override.sweep_string_iterator(), None)
    except (HydraException, ValueError):  # a step of 0
        first = None
    return f"{override.input_line}: {NO_VALUES}" if first is None else None


def wrong_option(override: Override, loader: ConfigLoaderImpl, searchpath: list[str]) -> str | None:
    """Return which options that an override of a group chooses do not exist."""
    group, is_recipe = override.key_or_group, override.is_add()
    options = loader.get_group_options(group, ObjectType.CONFIG, CONFIG_NAME, searchpath)
    if is_recipe:  # such a group's options lie in folders, as experiment/zoo/acrobot does
        for folder in loader.get_group_options(group, ObjectType.GROUP, CONFIG_NAME, searchpath):
            below = loader.get_group_options(f"{group}/{folder}", ObjectType.CONFIG, CONFIG_NAME, searchpath)
            options += [f"{folder}/{option}" for option in below]
    if not options or override.is_delete():
        return None
    later = r"[\[$]|/.*/" if is_recipe else r"[\[$/]"  # only the composition shows whether these exist
    wrong = [one for one in chosen(override) if one not in options and not re.search(later, str(one))]
    if not wrong:
        return None
    shown = ",".join("null" if one is None else str(one) for one in wrong)
    return f"{group}={shown}: should be one of {', '.join(options)}"


def chosen(override: Override) -> list[object]:
    """Return the options that an override of a group chooses."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []
    value = override.value()
    return list(value) if isinstance(value, list) else [value]


def first_value(override: Override, parser: OverridesParser) -> Override:
    """Return an override as it is, or one with the first of its several values."""
    if not override.is_sweep_override():
        return override
    value = override.value()
    first = value.start if isinstance(value, IntervalSweep) else next(override.sweep_string_iterator())
    return parser.parse_overrides([f"{override.get_key_element()}={first}"])[0]


def compose_most(overrides: list[Override], loader: ConfigLoaderImpl) -> tuple[DictConfig, list[str]]:
    """Compose all overrides but those that do not compose; return what is wrong with these, too."""
    failed: list[tuple[Override, Exception]] = []
    left = list(overrides)
    while True:
        try:
            config = load(left, loader)
            return config, [explain(override, error, config) for override, error in failed]
        except CANNOT_COMPOSE as error:
            culprit = find_culprit(left, error, loader)
            if culprit is None:
                raise UserError(first_line(error)) from None
            failed.append((culprit, error))
            left.remove(culprit)


def load(overrides: Sequence[Override], loader: ConfigLoaderImpl) -> DictConfig:
    texts = [str(override.input_line) for override in overrides]
    return loader.load_configuration(CONFIG_NAME, texts, RunMode.RUN, from_shell=False)


def find_culprit(overrides: list[Override], error: Exception, loader: ConfigLoaderImpl) -> Override | None:
    """Return the override that an error is about: its key is named or it fails alone."""
    for override in overrides:
        if re.search(f"'{re.escape(override.get_key_element().lstrip('+~'))}'", str(error)):
            return override
    for override in overrides:
        try:
            load([override], loader)
        except CANNOT_COMPOSE as alone:
            if str(alone) == str(error):
                return override
    return None


def explain(override: Override, error: Exception, config: DictConfig) -> str:
    """Return an override that does not compose, and what would be right."""
    if override.is_add() and "already at" in str(error):
        return f"{override.input_line}: there is such a key; without the + its value is changed"
    if str(error).startswith("In ") and "Could not override" in str(error):
        order = "a recipe that changes another one comes after it in a list, +experiment=[FIRST,SECOND]"
        return f"{override.input_line}: {first_line(error).rstrip('.')}; {order}"
    unknown = "Could not override" in str(error) or "does not exist" in str(error)
    parent, _, name = override.key_or_group.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not unknown or (isinstance(node, DictConfig) and name in node):
        return f"{override.input_line}: {first_line(error)}"
    while not isinstance(node, DictConfig):
        parent = parent.rpartition(".")[0]
        node = OmegaConf.select(config, parent) if parent else config
    keys = ", ".join(str(key) for key in node if not str(key).startswith("_") and key != "hydra") or "none"
    there = " or ".join(options_with(override.key_or_group))
    return f"{override.input_line}: no such key; {parent or 'the configuration'} has {keys}" + (
        f"; {there} brings it" if there else ""
    )


def options_with(key: str) -> list[str]:
    """Return the options, as GROUP=OPTION, of the key's group whose files have that key."""
    *path, _ = names = key.split(".")
    for depth in range(len(path), 0, -1):
        files = sorted(CONF.joinpath(*path[:depth]).glob("*.yaml"))
        below = ".".join(names[depth:])
        if found := [
            file.stem for file in files if OmegaConf.select(OmegaConf.load(file), below) is not None
        ]:
            return [f"{'/'.join(path[:depth])}={option}" for option in found]
    return []
