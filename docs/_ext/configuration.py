"""Sphinx extension: append the reference of every group, option and key to reference/configuration.

Values and meanings come from the YAML files in conf/ and the comments in them.
"""

import inspect
import posixpath
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from dqn.config.meanings import RECIPES, Key, Option, read_folder
from dqn.config.paths import CONF

PAGE = "reference/configuration"
Comments = Mapping[str, str]


def summary(target: str) -> str:
    """Return the first paragraph of the docstring of a `_target_`."""
    if not target.startswith("dqn."):
        return f"`{target}`"
    return " ".join((inspect.getdoc(get_object(target)) or "").partition("\n\n")[0].split())


class Reference:
    """The reference of a folder of options."""

    def __init__(self, conf: Path) -> None:
        options = read_folder(conf, describe=summary)
        self.root = next(option for option in options if option.path == "config")
        self.options = [option for option in options if option.group]
        self.chosen = dict(self.choices(self.root))
        tops = [path.partition("/")[0] for path in self.chosen]
        self.options.sort(
            key=lambda option: (rank(option, tops), option.name != self.chosen.get(option.group))
        )

    def choices(self, option: Option) -> Iterator[tuple[str, str]]:
        """Yield the options that an option chooses, and those that they choose."""
        for choice in option.choices:
            group, equal, name = choice.partition("=")
            path = f"{group}/{name}" if equal else f"{option.group}/{choice}".lstrip("/")
            if equal:
                yield group, name
            for one in self.options:
                if one.path == path:
                    yield from self.choices(one)

    def without_comment(self) -> list[str]:
        """Return the keys that no file of their group comments on."""
        keys = [
            (option, key)
            for option in (self.root, *self.options)
            for key in option.keys
            if not option.is_recipe and not key.name.startswith("hydra.")
        ]
        known = {key.name for _, key in keys if key.comment}
        return [f"{option.path}: {key.name}" for option, key in keys if key.name not in known]

    def text(self) -> str:
        """Return the whole reference as Markdown."""
        keys = [("", key) for key in self.root.keys if "callbacks" not in key.name and key.comment]
        lines = ["## The run", "", *table(keys, {}), ""]
        for group in dict.fromkeys(option.group for option in self.options if not option.is_recipe):
            lines += self.section(group)
        about = "`+experiment=NAME` stands for the overrides below its name. Yours win."
        lines += [f"## `{RECIPES}`", "", about]
        for option in (option for option in self.options if option.is_recipe):
            lines += recipe(option)
        return "\n".join(lines) + "\n"

    def section(self, group: str) -> Iterator[str]:
        """Yield the lines of a group: its options, then their keys."""
        yield from (f"{'#' * (2 + group.count('/'))} `{group}`", "", "| option | meaning |", "|---|---|")
        options = [option for option in self.options if option.group == group]
        prefix = f"{group.replace('/', '.')}."
        for option in options:
            default = " (default)" if option.name == self.chosen.get(group) else ""
            yield row(f"`{option.name}`{default}", about(option, prefix))
        keys = [(option.name, key) for option in options for key in option.keys]
        comments = {key.name: key.comment for _, key in reversed(keys) if key.comment}
        rows = [(name, key) for name, key in keys if key.name.startswith(prefix)]
        yield from ("", *table(rows, comments), "") if rows else ("",)


def rank(option: Option, tops: Sequence[str]) -> tuple[bool, int, str]:
    """Return the sort key of a group: the order of config.yaml, each before those below it, recipes last."""
    top = option.group.partition("/")[0]
    return option.is_recipe, tops.index(top) if top in tops else len(tops), option.group


def about(option: Option, prefix: str) -> str:
    """Return the meaning of an option, and the values outside its group that it sets."""
    others = [f"`{key.name}={key.value}`" for key in option.keys if not f"{key.name}.".startswith(prefix)]
    sentences = [option.about.rstrip(".") + "."] if option.about else []
    if option.choices:
        sentences.append(f"Starts from {', '.join(f'`{choice}`' for choice in option.choices)}.")
    if others:
        sentences.append(f"Sets {', '.join(others)}.")
    return " ".join(sentences)


def recipe(option: Option) -> Iterator[str]:
    """Yield the lines of a recipe: its meaning and the overrides that it stands for."""
    folder = option.group.removeprefix(RECIPES).lstrip("/")
    overrides = [
        choice if "=" in choice else f"+{posixpath.join('/', option.group, choice)[1:].replace('/', '=', 1)}"
        for choice in option.choices
    ]
    overrides += [f"{key.name}={key.value}".replace(", ", ",") for key in option.keys]
    yield from ("", f"### `{f'{folder}/{option.name}'.lstrip('/')}`", "", option.about, "", "```text")
    yield from textwrap.wrap(" ".join(overrides), 100, break_long_words=False, break_on_hyphens=False)
    yield "```"


def table(rows: Sequence[tuple[str, Key]], comments: Comments) -> Iterator[str]:
    """Yield a table of keys; keys with the same value in several options share a row."""
    names: dict[Key, list[str]] = {}
    for option, key in rows:
        whole = key._replace(comment=key.comment or comments.get(key.name, ""))
        names.setdefault(whole, []).append(f"`{option}`")
    several = len({option for option, _ in rows}) > 1
    yield row("key", "value", "meaning", *["option"] * several)
    yield "|---" * (3 + several) + "|"
    order = list(dict.fromkeys(key.name for key in names))
    for key in sorted(names, key=lambda key: order.index(key.name)):
        yield row(f"`{key.name}`", f"`{key.value}`", key.comment, *[", ".join(names[key])] * several)


def row(*cells: str) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def escaped(cell: str) -> str:
    """Return text for a table cell: outside code, nothing is Markdown or HTML."""
    parts = re.split(r"(`[^`]*`)", cell.replace("|", r"\|"))
    return "".join(part if part.startswith("`") else re.sub(r"[*<\[]", r"\\\g<0>", part) for part in parts)


def append(app: Any, docname: str, content: list[str]) -> None:
    """Append the reference to its page while Sphinx reads it."""
    if docname == PAGE:
        content[0] += "\n" + Reference(CONF).text()


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("source-read", append)
    app.connect("env-get-outdated", lambda *_: [PAGE])
    return {"parallel_read_safe": True}
