"""The configuration of a command line as what the checks of parts examine."""

import copy
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from dqn.config.build import Config, build
from dqn.config.compose import StrPath, compose
from dqn.config.preflight import resolved
from dqn.config.validate import check
from dqn.config.wrappers import env_factory
from dqn.conformance import Candidate, Finding, examine
from dqn.runner import Runner
from dqn.storage.folder import RunFolder


def examine_parts(
    overrides: Sequence[str], config_dir: StrPath | None, names: Collection[str] = ()
) -> Iterator[Finding]:
    """Return what the checks find of the parts that a command line composes.

    Args:
        overrides: as for training.
        config_dir: a folder of further options.
        names: of the checks; none: all.

    Raises:
        UserError: the overrides, or what they configure, is not as it should be.
    """
    config = resolved(compose(overrides, config_dir=config_dir).config)
    check(config).raise_if_any()
    factory = env_factory(config["env"])
    return examine(Candidate(config=config, factory=factory, make=make, build=build_in), names)


def make(node: Any) -> Any:
    return instantiate(node, _convert_="all")


def build_in(config: Config, folder: Path) -> Runner:
    return build(copy.deepcopy(config), RunFolder(folder))
