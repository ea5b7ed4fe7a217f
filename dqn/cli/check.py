"""The check of the parts that a command line composes."""

import copy
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from hydra.utils import instantiate

from dqn.config.build import Config, build
from dqn.config.compose import StrPath, compose
from dqn.config.preflight import resolved
from dqn.config.validate import check
from dqn.config.wrappers import env_factory
from dqn.conformance import Finding, Subject, examine
from dqn.runner import Runner
from dqn.storage.folder import RunFolder


def examine_parts(
    overrides: Sequence[str], config_dir: StrPath | None, names: Collection[str] = ()
) -> Iterator[Finding]:
    """Check the parts that a command line composes; return the findings.

    Args:
        overrides: as for training.
        config_dir: a folder of additional options.
        names: the checks to run; empty: all.

    Raises:
        UserError: the overrides do not compose, or their configuration is wrong.
    """
    config = resolved(compose(overrides, config_dir=config_dir).config)
    check(config).raise_if_any()
    make = partial(instantiate, _convert_="all")
    subject = Subject(config=config, factory=env_factory(config["env"]), make=make, build=build_in)
    return examine(subject, names)


def build_in(config: Config, folder: Path) -> Runner:
    return build(copy.deepcopy(config), RunFolder(folder))
