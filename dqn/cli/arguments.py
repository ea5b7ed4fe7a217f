"""The arguments of the commands: a run folder, KEY=VALUE options, and the packages to trust."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from dqn.config import overrides as grammar
from dqn.config.commands import COMMANDS, command
from dqn.config.compose import mistakes
from dqn.storage.flatten import entries, replaced, settings

Config = dict[str, Any]


def run_arguments(name: str, options: str, *, file: str | None = None) -> argparse.Namespace:
    """Return the arguments of a command about a run.

    Args:
        name: of the command.
        options: help for the KEY=VALUE options.
        file: help for the file that the command writes; None: it takes no file.
    """
    parser = argparse.ArgumentParser(prog=command(name), description=COMMANDS[name])
    parser.add_argument("run", type=Path, help="the run folder")
    if file is not None:
        parser.add_argument("file", type=Path, help=file)
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE", help=options)
    trust = "a package that the run may import, such as your own"
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=trust)
    if name == "resume":
        restart = "start the run again from the beginning; its checkpoint, metrics and result are replaced"
        parser.add_argument("--restart", action="store_true", help=restart)
    return parser.parse_intermixed_args()


def check_arguments() -> argparse.Namespace:
    """Return the arguments of check: overrides, and a folder of options."""
    parser = argparse.ArgumentParser(prog=command("check"), description=COMMANDS["check"])
    overrides = "as for training; the parts of the composed configuration are checked"
    parser.add_argument("overrides", nargs="*", metavar="GROUP=OPTION or KEY=VALUE", help=overrides)
    parser.add_argument("--config-dir", metavar="FOLDER", help="a folder of additional options")
    return parser.parse_intermixed_args()


def parse(options: Sequence[str]) -> Config:
    """Return KEY=VALUE options in Hydra's grammar as a dict; raise UserError for any other option."""
    parsed = grammar.parse(options, OverridesParser.create())
    problems = list(parsed.problems)
    for one in parsed.overrides:
        if one.is_add() or one.is_delete() or one.is_sweep_override():
            problems.append(f"{one.input_line}: should be KEY=VALUE with one value")
    if problems := parsed.with_corrections(problems):
        raise mistakes(problems, "the command")
    return {one.key_or_group: one.value() for one in parsed.overrides}


def replace_values(config: Config, values: Config) -> Config:
    """Return a configuration with other values at dotted keys; raise UserError if it lacks some of them."""
    problems = []
    known = {key: value for key, _, value in entries(config, lists=False)}
    for key, value in values.items():
        if isinstance(known.get(key), dict) and not isinstance(value, dict):
            problems.append(f"{key}={value}: a run keeps its options of groups; only a new run has others")
        elif key in known:
            config = replaced(config, key, value)
        else:
            full = [one for one, _ in settings(config) if one.endswith(f".{key}")]
            instead = "".join(f"; type {one}={value}" for one in full)
            problems.append(f"{key}={value}: the run has no such key{instead}")
    if problems:
        raise mistakes(problems, "the command")
    return config
