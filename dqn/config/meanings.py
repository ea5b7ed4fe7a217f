"""The options of conf/ and the comments in them, the source of --help, of messages and of the reference."""

import itertools
import posixpath
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dqn.storage.folder import LOADER

RECIPES = "experiment"
"""Group of whole recipes; they are chosen with a + and documented as overrides."""
SPECIAL = ("_partial_", "_recursive_", "_convert_", "_args_")
Describe = Callable[[str], str]


class Key(NamedTuple):
    """A key of a file, by its whole path."""

    name: str
    value: str
    comment: str


@dataclass
class Option:
    """A file of conf/."""

    group: str
    name: str
    about: str = ""
    choices: list[str] = field(default_factory=list)  # its defaults list, as overrides
    keys: list[Key] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"{self.group}/{self.name}".lstrip("/")

    @property
    def own_keys(self) -> list[Key]:
        """The keys of its group, or that of the group itself; an option may set keys of other groups too."""
        group = self.group.replace("/", ".")
        prefix = f"{group}." if group else ""
        return [key for key in self.keys if key.name.startswith(prefix) or key.name == group]

    @property
    def is_recipe(self) -> bool:
        return self.group.partition("/")[0] == RECIPES


def no_description(target: str) -> str:
    """Describe no class: their docstrings are read by importing them, which may take seconds."""
    return ""


def read_folder(conf: Path, describe: Describe = no_description) -> list[Option]:
    """Return the options in a folder such as conf/; files that are no YAML are left out.

    Args:
        conf: the folder.
        describe: returns a text about a `_target_`, for options and objects without a comment.
    """
    options = []
    for path in sorted(conf.rglob("*.yaml")):
        with suppress(OSError, ValueError, TypeError, AttributeError, yaml.YAMLError):
            options.append(read_option(path, conf, describe))
    return options


def read_option(path: Path, conf: Path, describe: Describe) -> Option:
    """Return the content of a file of conf/."""
    group = path.parent.relative_to(conf).as_posix().removeprefix(".")
    option, text = Option(group, path.stem), path.read_text()
    header = list(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines()))
    option.about = " ".join(line.lstrip("# ") for line in header if "@package" not in line)
    prefix = "" if any("@package _global_" in line for line in header) else group.replace("/", ".")
    root = yaml.compose(text, LOADER)
    if not isinstance(root, yaml.MappingNode):
        return option
    option.keys = list(read_keys(root, prefix, text, describe))
    for key, value in yaml.load(text, LOADER).items():
        if key == "defaults":
            option.choices = list(choices_of(value, group))
        elif key == "_target_" and not option.about:
            option.about = describe(value)
    return option


def read_keys(node: yaml.MappingNode, prefix: str, text: str, describe: Describe) -> Iterator[Key]:
    """Yield the keys of a mapping and those below it."""
    for name, value in node.value:
        path = f"{prefix}.{name.value}".lstrip(".")
        if name.value in SPECIAL or (name.value in ("defaults", "_target_") and not node.start_mark.column):
            continue
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from read_keys(value, path, text, describe)
        elif name.value == "_target_":
            yield Key(prefix, value.value, describe(value.value))
        else:
            yield Key(path, source(value, text), comment_of(name, value, text.splitlines()))


def choices_of(defaults: Sequence[Any], group: str) -> Iterator[str]:
    """Yield the entries of a defaults list as overrides; an option of the same group as its bare name."""
    for entry in defaults:
        if isinstance(entry, str):
            if entry != "_self_":
                yield entry.partition("@")[0].removeprefix(f"/{group}/")
            continue
        for group_key, name in entry.items():
            chosen = str(group_key).split()[-1]
            whole = chosen.lstrip("/") if chosen.startswith("/") else f"{group}/{chosen}".lstrip("/")
            if not whole.startswith("hydra/"):
                yield f"{whole}={'null' if name is None else name}"


def source(node: yaml.Node, text: str) -> str:
    """Return a value in one line, spelled as in the file."""
    written = text[node.start_mark.index : node.end_mark.index].strip()
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        whole = yaml.safe_load(textwrap.dedent(" " * node.start_mark.column + written))
        return yaml.safe_dump(whole, default_flow_style=True, width=10_000).strip()
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return str(node.value).strip()
    return " ".join(written.split())


def comment_of(name: yaml.Node, value: yaml.Node, lines: Sequence[str]) -> str:
    """Return the comment behind a value, or else the lines of comments right above its key."""
    is_block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    end = name.end_mark if is_block else value.end_mark
    behind = lines[end.line][end.column :].lstrip(": ") if end.line < len(lines) else ""
    if behind.startswith("#"):
        return behind.lstrip("# ").strip()
    above = name.start_mark.line
    while above and lines[above - 1].strip().startswith("#"):
        above -= 1
    if above == 0:  # these lines are about the whole file
        return ""
    return " ".join(line.strip().lstrip("# ") for line in lines[above : name.start_mark.line])


def meanings(options: Sequence[Option], choices: Mapping[str, str]) -> dict[str, str]:
    """Return the comments on keys in the options of their groups.

    Those in the chosen options come first, then those in the options that these start from.
    """
    by_path = {option.path: option for option in options if not option.is_recipe}
    order = ["config", *(f"{group}/{name}" for group, name in choices.items())]
    for path in order:  # grows meanwhile
        option = by_path.get(path)
        starts = [one for one in option.choices if "=" not in one] if option else []
        order += [posixpath.join("/", option.group, one)[1:] for one in starts] if option else []
    found: dict[str, str] = {}
    for path in (*order, *by_path):
        for key in by_path[path].own_keys if path in by_path else ():
            if key.comment:
                found.setdefault(key.name, key.comment)
    return found
