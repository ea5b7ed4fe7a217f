"""The configuration of a command line as what the checks of parts examine."""

import copy
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from dqn.config.build import Config, build
from dqn.config.compose import check_words
from dqn.config.loader import StrPath
from dqn.config.resolve import resolved
from dqn.config.validate import check
from dqn.config.wrappers import env_factory
from dqn.conformance import Finding, Subject, examine
from dqn.runner import Runner
from dqn.storage.folder import RunFolder


def examine_words(
    words: Sequence[str], config_dir: StrPath | None, names: Collection[str] = ()
) -> Iterator[Finding]:
    """Return what the checks find of the parts that a command line composes.

    Args:
        words: of the command line, as for training.
        config_dir: a folder of further options.
        names: of the checks; none: all.

    Raises:
        UserError: the words, or what they configure, is not as it should be.
    """
    config = resolved(check_words(words, multirun=False, config_dir=config_dir))
    check(config).raise_if_any()
    factory = env_factory(config["env"])
    return examine(Subject(config=config, factory=factory, make=make, build=build_in), names)


def make(node: Any) -> Any:
    return instantiate(node, _convert_="all")


def build_in(config: Config, folder: Path) -> Runner:
    return build(copy.deepcopy(config), RunFolder(folder))
