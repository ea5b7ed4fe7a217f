"""Compose overrides with Hydra, without its global state and without torch, and report all mistakes at once.

Hydra alone reports only the first mistake, and in a multirun only after it has created the folder.
"""

import os
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
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dqn.config.advice import Advisor, read_options
from dqn.config.meanings import Option
from dqn.config.overrides import CONFIG_NAME, first_value, misplaced, parse
from dqn.config.paths import CONF
from dqn.errors import UserError, first_line

StrPath = str | os.PathLike[str]
CANNOT_COMPOSE = (HydraException, OmegaConfBaseException, ValueError, TypeError)
SEARCHPATH = "hydra.searchpath"
SWEEPS = ("hydra/launcher", "hydra/sweeper")
"""The groups of Hydra's own node that sweeps choose from."""
COMPOSING = threading.Lock()
"""Held while composing or resolving: Hydra keeps its compatible version and its own node in globals."""


class Composed(NamedTuple):
    """A composed configuration with Hydra's own node, and the loader that composed it."""

    config: DictConfig
    loader: ConfigLoaderImpl

    @property
    def is_multirun(self) -> bool:
        return bool(self.config.hydra.mode == RunMode.MULTIRUN)

    @property
    def choices(self) -> dict[str, str]:
        """The chosen option of each group, without those that are Hydra's own affair."""
        choices = self.config.hydra.runtime.choices
        return {group: name for group, name in choices.items() if group in SWEEPS or group[:6] != "hydra/"}

    def options(self) -> list[Option]:
        """Return the options of all groups, those of the user's folders included."""
        return read_options(self.loader, self.config.hydra.searchpath)


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
    parsed = parse(texts, parser)
    problems, searchpath, others = list(parsed.problems), list[Override](), list[Override]()
    for override in parsed.overrides:
        if override.get_key_element() != SEARCHPATH:
            others.append(override)
        elif problem := missing_folders(override):
            problems.append(problem)
        else:
            searchpath.append(override)
    advisor, valid = Advisor(loader, searchpath), list(searchpath)
    for override in others:
        if problem := advisor.wrong_option(override):
            problems.append(problem)
        else:
            valid.append(override)
    is_other = len(valid) < len(searchpath) + len(others)
    firsts = [first_value(one, parser) for one in valid]
    config, uncomposable = compose_most(firsts, advisor, is_other=is_other)
    is_multirun = multirun or config.hydra.mode == RunMode.MULTIRUN
    ignored = (misplaced(one, is_multirun=is_multirun) for one in valid)
    return config, parsed.with_corrections([*problems, *uncomposable, *filter(None, ignored)])


def missing_folders(override: Override) -> str | None:
    """Return the problem of a `hydra.searchpath` that names folders that do not exist."""
    value = override.value()
    if not isinstance(value, list):
        return f"{override.input_line}: should be a list, [FOLDER]"
    paths = map(str, value)
    missing = ", ".join(path for path in paths if not is_available(path))
    return f"{override.input_line}: no such folder: {missing}" if missing else None


def is_available(searchpath: str) -> bool:
    scheme, colon, path = searchpath.rpartition("://")
    source = SourcesRegistry.instance().resolve(scheme if colon else "file")
    return source(provider="", path=f"{scheme or 'file'}://{path}").available()


def compose_most(
    overrides: list[Override], advisor: Advisor, *, is_other: bool
) -> tuple[DictConfig, list[str]]:
    """Compose as many overrides as possible; return the configuration and the problems of the others.

    Without an option that was meant, the configuration is another one, and lacks keys that are no mistake.

    Args:
        overrides: all overrides whose options exist.
        advisor: explains the problems.
        is_other: whether an override was left out because its option does not exist.
    """
    failed: list[tuple[Override, Exception]] = []
    while True:
        try:
            config = load(overrides, advisor.loader)
            is_other |= any("Could not find" in str(why) for _, why in failed)
            told = [(one, why) for one, why in failed if not (is_other and advisor.brings(one, why))]
            return config, [advisor.explain(override, error, config) for override, error in told]
        except CANNOT_COMPOSE as error:
            culprit = find_culprit(overrides, error, advisor.loader)
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
