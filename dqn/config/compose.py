"""The words of a command that Hydra cannot compose, all in one message and without importing torch.

Hydra itself tells the first one only, and in a multirun after it has made the folder.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dqn.config.loader import SEARCHPATH, Loader, StrPath, loading, unavailable
from dqn.config.paths import CONF
from dqn.errors import UserError, first_line

CANNOT_COMPOSE = (HydraException, OmegaConfBaseException, ValueError, TypeError)
NO_VALUES = "should have values: START, START + STEP, ... before STOP, which is none of them"
"""Of a range without."""


def mistakes(lines: Sequence[object], where: str) -> UserError:
    """Return all mistakes as one error."""
    count = f"{len(lines)} mistake{'s' * (len(lines) > 1)} in {where}"
    return UserError("\n  ".join([f"{count}:", *map(str, lines)]))


def check_words(words: Sequence[str], *, multirun: bool, config_dir: StrPath | None = None) -> DictConfig:
    """Return the configuration of a command, with Hydra's own node; of sweeps the first values.

    Args:
        words: the overrides.
        multirun: whether sweeps are allowed.
        config_dir: a user's folder of further options.

    Raises:
        UserError: some words do not compose; its text names each of them.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise mistakes([f"--config-dir {config_dir}: should be a folder"], "the command")
    with loading(config_dir) as loader:
        config, problems = compose_words(words, loader, multirun=multirun)
    if problems:
        raise mistakes(problems, "the command")
    return config


def compose_words(words: Sequence[str], loader: Loader, *, multirun: bool) -> tuple[DictConfig, list[str]]:
    """Return the configuration of the words that compose, and what is wrong with the others."""
    parser = OverridesParser.create(config_loader=loader.hydra)
    overrides, problems = parse_words(words, parser)
    searchpath = [override for override in overrides if override.get_key_element() == SEARCHPATH]
    for override in searchpath.copy():
        if missing := unavailable(override):
            problems.append(f"{override.input_line}: no such place: {', '.join(missing)}")
            overrides.remove(override)
            searchpath.remove(override)
    wrong = {id(one): wrong_range(one) or wrong_choice(one, loader, searchpath) for one in overrides}
    problems += [problem for problem in wrong.values() if problem]
    overrides = [override for override in overrides if not wrong[id(override)]]
    config, uncomposable = compose_most(
        [one for override in overrides for one in representative(override, parser)], loader
    )
    problems += uncomposable
    if not multirun and config.hydra.mode != RunMode.MULTIRUN:
        sweeps = [override.input_line for override in overrides if override.is_sweep_override()]
        problems += [f"{line}: should be one value; several need -m, or quotes in a text" for line in sweeps]
    return config, problems


def parse_words(words: Sequence[str], parser: OverridesParser) -> tuple[list[Override], list[str]]:
    """Return the overrides that words are, and what is wrong with words that are none."""
    overrides: list[Override] = []
    problems: list[str] = []
    for word in words:
        try:
            overrides += parser.parse_overrides([word])
        except HydraException as error:
            problems.append(f"{word}: should be KEY=VALUE in Hydra's grammar ({first_line(error)})")
    return overrides, problems


def wrong_choice(override: Override, loader: Loader, searchpath: Sequence[Override]) -> str | None:
    """Return which chosen options of a group there are not; that needs no composition."""
    options = loader.options(override.key_or_group, searchpath)
    if not options or override.is_delete():
        return None
    wrong = [value for value in chosen(override) if value not in options and not composed_later(value)]
    if not wrong:
        return None
    shown = ",".join("null" if value is None else str(value) for value in wrong)
    return f"{override.key_or_group}={shown}: should be one of {', '.join(options)}"


def wrong_range(override: Override) -> str | None:
    """Return what is wrong with a range that has no values."""
    if not override.is_range_sweep():
        return None
    try:
        first = next(override.sweep_string_iterator(), None)
    except (HydraException, ValueError):  # a step of 0
        first = None
    return f"{override.input_line}: {NO_VALUES}" if first is None else None


def chosen(override: Override) -> list[object]:
    """Return the options that an override of a group chooses."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []
    value = override.value()
    return list(value) if isinstance(value, list) else [value]


def composed_later(value: object) -> bool:
    """Return whether only a composition shows if there is such an option."""
    return isinstance(value, str) and ("/" in value or "$" in value)


def representative(override: Override, parser: OverridesParser) -> list[Override]:
    """Return an override that composes if `override` does: of a sweep the first value."""
    if not override.is_sweep_override():
        return [override]
    value = override.value()
    first = value.start if isinstance(value, IntervalSweep) else next(override.sweep_string_iterator())
    return parser.parse_overrides([f"{override.get_key_element()}={first}"])


def compose_most(overrides: list[Override], loader: Loader) -> tuple[DictConfig, list[str]]:
    """Compose all overrides but those that do not compose; return what is wrong with these, too."""
    failed: list[tuple[Override, Exception]] = []
    left = list(overrides)
    while True:
        try:
            config = loader.compose(words_of(left))
            return config, [explain(override, error, config) for override, error in failed]
        except CANNOT_COMPOSE as error:
            culprit = find_culprit(left, error, loader)
            if culprit is None:
                raise UserError(first_line(error)) from None
            failed.append((culprit, error))
            left.remove(culprit)


def find_culprit(overrides: list[Override], error: Exception, loader: Loader) -> Override | None:
    """Return the override that an error is about: its key is named or it fails alone."""
    for override in overrides:
        if re.search(f"'{re.escape(override.get_key_element().lstrip('+~'))}'", str(error)):
            return override
    for override in overrides:
        try:
            loader.compose(words_of([override]))
        except CANNOT_COMPOSE as alone:
            if str(alone) == str(error):
                return override
    return None


def words_of(overrides: list[Override]) -> list[str]:
    return [str(override.input_line) for override in overrides]


def explain(override: Override, error: Exception, config: DictConfig) -> str:
    """Return an override that does not compose, and what would be right."""
    if override.is_add() and "already at" in str(error):
        return f"{override.input_line}: there is such a key; without the + its value is changed"
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
    """Return the options, as words, of the key's group whose files have that key."""
    *path, _ = names = key.split(".")
    for depth in range(len(path), 0, -1):
        files = sorted(CONF.joinpath(*path[:depth]).glob("*.yaml"))
        below = ".".join(names[depth:])
        if found := [
            file.stem for file in files if OmegaConf.select(OmegaConf.load(file), below) is not None
        ]:
            return [f"{'/'.join(path[:depth])}={option}" for option in found]
    return []
