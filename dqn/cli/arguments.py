"""The arguments of the commands: a run folder, KEY=VALUE options, and the packages to trust."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from dqn.config.commands import COMMANDS, command, newest_here


class RunParser(argparse.ArgumentParser):
    """Names the newest run where the run folder is missing."""

    def error(self, message: str) -> NoReturn:
        """Exit with the usage and a message."""
        super().error(message + newest_here() * ("required: run" in message))


def as_typed(*pieces: Iterable[str]) -> list[str]:
    """Return arguments in the order of the command line; argparse sorts `--lr 3` into two lists."""
    return sorted([one for some in pieces for one in some], key=sys.argv.index)


def run_arguments(name: str, options: str, *, file: str | None = None) -> argparse.Namespace:
    """Return the arguments of a command about a run.

    Args:
        name: of the command.
        options: help for the KEY=VALUE options.
        file: help for the file that the command writes; None: it takes no file.
    """
    parser = RunParser(prog=command(name), description=COMMANDS[name])
    parser.add_argument("run", type=Path, help="the run folder")
    if file is not None:
        parser.add_argument("file", type=Path, help=file)
    parser.add_argument("options", nargs="*", default=[], metavar="KEY=VALUE", help=options)
    trust = "a package that the run may import, such as your own"
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=trust)
    if name == "resume":
        restart = "start the run again from the beginning; its checkpoint, metrics and result are replaced"
        parser.add_argument("--restart", action="store_true", help=restart)
    arguments, unknown = parser.parse_known_intermixed_args()
    arguments.options = as_typed(arguments.options, unknown)
    return arguments


def check_arguments() -> argparse.Namespace:
    """Return the arguments of check: overrides, and a folder of options."""
    parser = argparse.ArgumentParser(prog=command("check"), description=COMMANDS["check"])
    overrides = "as for training; the parts of the composed configuration are checked"
    parser.add_argument("overrides", nargs="*", metavar="GROUP=OPTION or KEY=VALUE", help=overrides)
    parser.add_argument("--config-dir", metavar="FOLDER", help="a folder of additional options")
    arguments, unknown = parser.parse_known_intermixed_args()
    arguments.overrides = as_typed(arguments.overrides, unknown)
    return arguments
