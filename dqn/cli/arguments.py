"""The arguments of the commands about a run: a folder, KEY=VALUE options, and which packages to trust."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from dqn.config.commands import command
from dqn.config.compose import mistakes
from dqn.errors import UserError, first_line

Config = dict[str, Any]


def run_arguments(
    name: str, description: str, options: str, *, file: str | None = None
) -> argparse.Namespace:
    """Return the arguments of a command about a run: the folder, KEY=VALUE options, and whom to trust.

    Args:
        name: of the command.
        description: of the command.
        options: what KEY may be.
        file: what the command writes; None: it names no file.
    """
    parser = argparse.ArgumentParser(prog=command(name), description=description)
    parser.add_argument("run", type=Path, help="the run folder")
    if file is not None:
        parser.add_argument("file", type=Path, help=file)
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE", help=options)
    trust = "a package of your own that the run may import"
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=trust)
    return parser.parse_intermixed_args()


def check_arguments() -> argparse.Namespace:
    """Return the arguments of the command that tries parts: overrides, and a folder of options."""
    about = "Try whether the parts of a configuration, such as your own, do what the others rely on."
    parser = argparse.ArgumentParser(prog=command("check"), description=about)
    overrides = "as for training: what is tried is what these overrides compose"
    parser.add_argument("overrides", nargs="*", metavar="GROUP=OPTION or KEY=VALUE", help=overrides)
    parser.add_argument("--config-dir", metavar="FOLDER", help="a folder of options of your own")
    return parser.parse_intermixed_args()


def parse(options: Sequence[str]) -> Config:
    """Return KEY=VALUE options as a dict, values in Hydra's grammar.

    Raises:
        UserError: some are no such options.
    """
    parser = OverridesParser.create()
    values: Config = {}
    problems = []
    for option in options:
        try:
            override = parser.parse_overrides([option])[0]
        except HydraException as error:
            problems.append(f"{option}: should be KEY=VALUE ({first_line(error)})")
            continue
        if override.is_add() or override.is_delete() or override.is_sweep_override():
            problems.append(f"{option}: should be KEY=VALUE")
        else:
            values[override.key_or_group] = override.value()
    if problems:
        raise mistakes(problems, "the command")
    return values


def replace_values(config: Config, values: Config) -> None:
    """Replace values of a configuration by their dotted keys.

    Raises:
        UserError: it has no such keys.
    """
    problems = []
    for key, value in values.items():
        *path, name = key.split(".")
        node: Any = config
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict) and name in node:
            node[name] = value
        else:
            problems.append(f"{key}={value}: the run has no such key")
    if problems:
        raise mistakes(problems, "the command")


class plain_errors:
    """Show a user's mistake without a traceback, and log as Hydra does for train.py."""

    def __init__(self, level: int = logging.INFO) -> None:
        self.level = level

    def __enter__(self) -> None:
        logging.basicConfig(level=self.level, format="%(message)s", stream=sys.stdout)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, UserError):
            sys.exit(str(error))
        if isinstance(error, KeyboardInterrupt):
            sys.exit(130)
