"""Values of a run's keys, given as KEY=VALUE: parsed, and put into its recorded configuration."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from dqn.config import overrides as grammar
from dqn.config.compose import mistakes
from dqn.storage.flatten import entries, replaced, settings

Config = dict[str, Any]


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
