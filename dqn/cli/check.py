"""The check of the parts that a command line composes."""

from collections.abc import Collection, Iterator, Sequence

from dqn.config.any_env import with_base
from dqn.config.build import build
from dqn.config.compose import StrPath, compose
from dqn.config.parts import make
from dqn.config.preflight import Config, resolved
from dqn.config.validate import check
from dqn.config.wrappers import env_factory
from dqn.conformance import Candidate, Finding, examine
from dqn.storage.folder import RunFolder


def examine_parts(
    overrides: Sequence[str], config_dir: StrPath | None, names: Collection[str] = ()
) -> Iterator[Finding]:
    """Check the parts of the configuration that overrides compose; return the findings.

    Args:
        overrides: as for training.
        config_dir: a folder of additional options.
        names: the checks to run; empty: all.

    Raises:
        UserError: the overrides do not compose, or their configuration is wrong.
    """
    return examine_config(
        resolved(compose(with_base(overrides, config_dir), config_dir=config_dir).config), names
    )


def examine_config(config: Config, names: Collection[str] = ()) -> Iterator[Finding]:
    """Check the parts of a resolved configuration; return the findings."""
    check(config).raise_if_any()
    candidate = Candidate(
        config=config,
        factory=env_factory(config["env"]),
        make=make,
        build=lambda config, folder: build(config, RunFolder(folder)),
    )
    return examine(candidate, names)
