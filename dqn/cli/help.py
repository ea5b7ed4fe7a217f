"""The text of `train.py --help`: what may be typed, and what each key of the composed configuration means."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import OmegaConf

from dqn.config.commands import COMMANDS, command
from dqn.config.compose import SWEEPS, Composed
from dqn.config.meanings import RECIPES, Option, meanings
from dqn.errors import format_value, printable
from dqn.storage.flatten import entries

WIDTH = 110
"""Most characters of a line, unless a command is longer."""
COLUMN = 40
"""Characters before the meaning of a key."""


def help_text(composed: Composed) -> str:
    """Return the help for a composed configuration."""
    train, options = command("train"), composed.options()
    lines = [
        "Train a deep Q-network. Without overrides this is the document's experiment on CartPole-v1.",
        "",
        f"usage: {train} [GROUP=OPTION ...] [KEY=VALUE ...] [+{RECIPES}=RECIPE] [-m]",
        "",
        f"  {train} agent=double agent.lr=1e-3 num_seeds=8",
        f"  {train} env=acrobot    (an environment with values meant for it; env.id=ID takes any other)",
        f"  {train} -m name=lr agent.lr=1e-3,5e-4    (a sweep: a run of each)",
        f"  {train} --cfg job    (the configuration as YAML)",
        f'  eval "$({train} -sc install=bash)"    (TAB completion)',
        "",
        "Other commands, each with its own --help:",
        *(line for name, about in COMMANDS.items() for line in (f"  {command(name)}", f"      {about}")),
        "",
        f"Recipes, which set several groups: +{RECIPES}=RECIPE",
        *recipes(options),
        "",
        "Groups with their options, and all keys with their meanings and the values that are composed here:",
        *configuration(composed, options),
        "",
        "Sweeps (-m):",
        *(line for group in SWEEPS for line in alternatives(group, composed.choices[group], options)),
    ]
    return printable("\n".join(lines))


def recipes(options: Sequence[Option]) -> Iterator[str]:
    """Yield the names of all recipes, those of each folder in one line."""
    names: dict[str, list[str]] = {}
    for option in options:
        if option.is_recipe and option.group.count("/") < 2:  # those further down are parts of these
            names.setdefault(f"{option.group}/".removeprefix(f"{RECIPES}/"), []).append(option.name)
    for folder, those in names.items():
        yield from wrapped(f"  {folder}", ", ".join(those), 16)


def alternatives(group: str, chosen: str, options: Sequence[Option]) -> Iterator[str]:
    """Yield the chosen option of a group and the other options."""
    others = [option.name for option in options if option.group == group and option.name != chosen]
    yield from wrapped(f"{group}={chosen}", f"or {', '.join(others)}" if others else "", 27)


def configuration(composed: Composed, options: Sequence[Option]) -> Iterator[str]:
    """Yield each group with its options, and each key with its value and meaning."""
    choices, about = composed.choices, meanings(options, composed.choices)
    raw: Any = OmegaConf.to_container(composed.config)
    keys: dict[str, list[str]] = {"": [], **{one: [] for one in sorted(choices) if one not in SWEEPS}}
    for key, name, value in entries(raw, lists=False):
        path = f"{key.replace('.', '/')}/"
        is_key = not name.startswith("_") and (value == {} or not isinstance(value, dict))
        if is_key and not path.startswith("hydra/"):
            group = max((one for one in keys if path.startswith(f"{one}/")), key=len, default="")
            shown = format_value(value).replace(", ", ",")
            keys[group] += wrapped(f"  {key}={shown}", about.get(key, ""), COLUMN)
    for group, lines in keys.items():
        yield ""
        yield from alternatives(group, choices[group], options) if group else ("The run:",)
        yield from lines


def wrapped(start: str, text: str, column: int) -> list[str]:
    """Return a text behind another one, in lines that begin at a column."""
    if len(start) + 1 > column:
        return [start, *wrapped("", text, column)] if text else [start]
    return textwrap.wrap(text, WIDTH, initial_indent=start.ljust(column), subsequent_indent=" " * column) or [
        start
    ]
