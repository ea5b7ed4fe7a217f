"""Compose overrides with Hydra, without its global state and without torch, and report all mistakes at once.

Hydra alone reports only the first mistake, and in a multirun only after it has created the folder.
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
from dqn.errors import UserError, first_line, format_value

StrPath = str | os.PathLike[str]
CANNOT_COMPOSE = (HydraException, OmegaConfBaseException, ValueError, TypeError)
CONFIG_NAME = "config"
SEARCHPATH = "hydra.searchpath"
NO_VALUES = "the range is empty; it should contain START, START + STEP, ... below STOP"
"""Message about a range without values."""

COMPOSING = threading.Lock()
"""Held while composing or resolving: Hydra keeps its compatible version and its own node in globals."""


class Composed(NamedTuple):
    """A composed configuration with Hydra's own node, and the loader that composed it."""

    config: DictConfig
    loader: ConfigLoaderImpl

    @property
    def is_multirun(self) -> bool:
        return bool(self.config.hydra.mode == RunMode.MULTIRUN)


def mistakes(problems: Sequence[object], where: str) -> UserError:
    """Return all problems as one error."""
    count = f"{len(problems)} mistake{'s' * (len(problems) > 1)} in {where}"
    return UserError("\n  ".join([f"{count}:", *map(str, problems)]))


def compose(
    overrides: Sequence[str], *, multirun: bool = False, config_dir: StrPath | None = None
) -> Composed:
    """Return the configuration of overrides; an override with several values counts with the first of them.

    Args:
        overrides: as on the command line.
        multirun: whether an override may have several values; a recipe may allow it too.
        config_dir: a folder of additional options.

    Raises:
        UserError: some overrides do not compose; the message lists each of them.
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
    """Return a loader of the options in conf/ and in `config_dir`; `hydra.searchpath` may add folders."""
    path = create_config_search_path(str(CONF))
    if config_dir is not None:  # the position that Hydra's own command line gives it
        folder = f"file://{os.path.abspath(config_dir)}"
        path.prepend("command-line", folder, anchor=SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(path)


@contextmanager
def hydra_globals() -> Iterator[None]:
    """Set Hydra's compatible version and register its resolvers; restore the version at the end."""
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
    """Return the configuration of the overrides that compose, and the problems of the others."""
    parser = OverridesParser.create(config_loader=loader)
    overrides, problems = parse(texts, parser)
    missing = {id(one): missing_folders(one) for one in overrides if one.get_key_element() == SEARCHPATH}
    searchpath = [str(one.input_line) for one in overrides if missing.get(id(one), "") is None]
    valid = []
    for override in overrides:
        problem = missing.get(id(override)) or empty_range(override)
        if problem := problem or wrong_option(override, loader, searchpath):
            problems.append(problem)
        else:
            valid.append(override)
    config, uncomposable = compose_most([first_value(one, parser) for one in valid], loader)
    problems += uncomposable
    if not multirun and config.hydra.mode != RunMode.MULTIRUN:
        sweeps = [override.input_line for override in valid if override.is_sweep_override()]
        advice = "should be one value; for several add -m, for a text with commas add quotes"
        problems += [f"{line}: {advice}" for line in sweeps]
    return config, problems


def parse(texts: Sequence[str], parser: OverridesParser) -> tuple[list[Override], list[str]]:
    """Return the overrides that follow Hydra's grammar, and the problems of the others."""
    overrides: list[Override] = []
    problems: list[str] = []
    for text in texts:
        try:
            overrides += parser.parse_overrides([text])
        except HydraException as error:
            problems.append(f"{text}: should be KEY=VALUE in Hydra's grammar ({first_line(error)})")
    return overrides, problems


def missing_folders(override: Override) -> str | None:
    """Return the problem of a `hydra.searchpath` that names folders that do not exist."""
    value = override.value() if override.get_key_element() == SEARCHPATH else None
    paths = map(str, value) if isinstance(value, list) else []
    missing = ", ".join(path for path in paths if not is_available(path))
    return f"{override.input_line}: no such folder: {missing}" if missing else None


def is_available(searchpath: str) -> bool:
    scheme, colon, path = searchpath.rpartition("://")
    source = SourcesRegistry.instance().resolve(scheme if colon else "file")
    return source(provider="", path=f"{scheme or 'file'}://{path}").available()


def empty_range(override: Override) -> str | None:
    """Return the problem of a range without values."""
    try:
        is_empty = override.is_range_sweep() and next(override.sweep_string_iterator(), None) is None
    except (HydraException, ValueError):  # a step of 0
        is_empty = True
    return f"{override.input_line}: {NO_VALUES}" if is_empty else None


def wrong_option(override: Override, loader: ConfigLoaderImpl, searchpath: list[str]) -> str | None:
    """Return the problem of an override that chooses options that its group does not have."""
    group, is_recipe = override.key_or_group, override.is_add()
    options = loader.get_group_options(group, ObjectType.CONFIG, CONFIG_NAME, searchpath)
    if is_recipe:  # its options lie in folders too, such as experiment/zoo/acrobot
        for folder in loader.get_group_options(group, ObjectType.GROUP, CONFIG_NAME, searchpath):
            below = loader.get_group_options(f"{group}/{folder}", ObjectType.CONFIG, CONFIG_NAME, searchpath)
            options += [f"{folder}/{option}" for option in below]
    if not options or override.is_delete():
        return None
    later = r"[\[$]|/.*/" if is_recipe else r"[\[$/]"  # only composing shows whether these exist
    wrong = [one for one in chosen(override) if one not in options and not re.search(later, str(one))]
    names = ",".join(map(format_value, wrong))
    return f"{group}={names}: should be one of {', '.join(options)}" if wrong else None


def chosen(override: Override) -> list[object]:
    """Return the options that an override of a group chooses."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []
    value = override.value()
    return list(value) if isinstance(value, list) else [value]


def first_value(override: Override, parser: OverridesParser) -> Override:
    """Return the override with the first of its values; one with a single value is returned unchanged."""
    if not override.is_sweep_override():
        return override
    value = override.value()
    first = value.start if isinstance(value, IntervalSweep) else next(override.sweep_string_iterator())
    return parser.parse_overrides([f"{override.get_key_element()}={first}"])[0]


def compose_most(overrides: list[Override], loader: ConfigLoaderImpl) -> tuple[DictConfig, list[str]]:
    """Compose as many overrides as possible; return the configuration and the problems of the others."""
    failed: list[tuple[Override, Exception]] = []
    while True:
        try:
            config = load(overrides, loader)
            return config, [explain(override, error, config) for override, error in failed]
        except CANNOT_COMPOSE as error:
            culprit = find_culprit(overrides, error, loader)
            failed.append((culprit, error))
            overrides = [one for one in overrides if one is not culprit]


def load(overrides: Sequence[Override], loader: ConfigLoaderImpl) -> DictConfig:
    texts = [str(override.input_line) for override in overrides]
    return loader.load_configuration(CONFIG_NAME, texts, RunMode.RUN, from_shell=False)


def find_culprit(overrides: list[Override], error: Exception, loader: ConfigLoaderImpl) -> Override:
    """Return the override that causes an error: the error names its key, or it alone causes the same one."""
    for override in overrides:
        if f"'{override.get_key_element().lstrip('+~')}'" in str(error):
            return override
    for override in overrides:
        try:
            load([override], loader)
        except CANNOT_COMPOSE as alone:
            if str(alone) == str(error):
                return override
    raise UserError(first_line(error)) from None


def explain(override: Override, error: Exception, config: DictConfig) -> str:
    """Return the message about an override that Hydra refuses; `config` is what the others compose."""
    line, text = override.input_line, str(error)
    if override.is_add() and "already at" in text:
        return f"{line}: the key exists already; change its value without the +"
    if text.startswith("In ") and "Could not override" in text:
        order = "a recipe that changes another one comes after it in a list, +experiment=[FIRST,SECOND]"
        return f"{line}: {first_line(error).rstrip('.')}; {order}"
    parent, _, name = override.key_or_group.rpartition(".")
    node = OmegaConf.select(config, parent)
    is_unknown = "Could not override" in text or "does not exist" in text
    if not is_unknown or (isinstance(node, DictConfig) and name in node):
        return f"{line}: {first_line(error)}"
    while not isinstance(node, DictConfig):
        parent = parent.rpartition(".")[0]
        node = OmegaConf.select(config, parent)
    keys = ", ".join(str(key) for key in node if not str(key).startswith("_") and key != "hydra") or "none"
    others = " or ".join(options_with(override.key_or_group))
    advice = f"; it comes with {others}" if others else ""
    return f"{line}: no such key; {f'{parent} has' if parent else 'there are'} {keys}{advice}"


def options_with(key: str) -> list[str]:
    """Return the options of the key's group that have the key, as GROUP=OPTION."""
    names = key.split(".")
    for depth in range(len(names) - 1, 0, -1):
        files = sorted(CONF.joinpath(*names[:depth]).glob("*.yaml"))
        below = ".".join(names[depth:])
        found = [file for file in files if OmegaConf.select(OmegaConf.load(file), below) is not None]
        if found:
            return [f"{'/'.join(names[:depth])}={file.stem}" for file in found]
    return []
