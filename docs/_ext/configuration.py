"""Write CONFIGURATION.md: every group, option and key, from conf/ and the comments there.

python scripts/reference.py [--check]
"""

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import yaml
from hydra.utils import get_object

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
FILE = ROOT / "CONFIGURATION.md"
PACKAGE = "# @package"
SPECIAL = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")

INTRODUCTION = """\
# Configuration

Every group, option and key, from the comments in `conf/`; `python scripts/reference.py` writes this file.
`GROUP=OPTION` chooses an option and `KEY=VALUE` sets a value, for `scripts/train.py` and for `dqn.train`.
`python scripts/train.py --cfg job` with any words prints what they compose.
"""
RECIPES = "A recipe is chosen by `+experiment=NAME`. It stands for the words below it; words of your own win."


class Key(NamedTuple):
    """A key as a file has it."""

    name: str  # its whole path
    value: str  # as it is written; of a part what it names
    comment: str
    is_part: bool


@dataclass
class Option:
    """A file of conf/."""

    group: str  # "" of config.yaml
    name: str
    about: str = ""
    target: str | None = None  # what it names itself
    bases: list[str] = field(default_factory=list)  # options of its group that it begins with
    choices: list[str] = field(default_factory=list)  # GROUP=OPTION
    keys: list[Key] = field(default_factory=list)

    @property
    def place(self) -> str:
        return self.group.replace("/", ".")


def read_option(path: Path, conf: Path) -> Option:
    """Return what a file of conf/ says."""
    group = path.parent.relative_to(conf).as_posix().removeprefix(".")
    option = Option(group=group, name=path.stem)
    text = path.read_text()
    lines = text.splitlines()
    package, header = option.place, []
    for line in lines:
        if line.startswith(PACKAGE):
            package = line.removeprefix(PACKAGE).strip().replace("_group_", option.place)
        elif line.startswith("#"):
            header.append(line.lstrip("# "))
        else:
            break
    option.about = " ".join(header)
    root = yaml.compose(text)
    if isinstance(root, yaml.MappingNode):
        prefix = "" if package == "_global_" else package
        option.keys = list(read_keys(root, prefix, text, option))
    if not option.about and option.target:
        option.about = summary(option.target)
    return option


def read_keys(node: yaml.MappingNode, prefix: str, text: str, option: Option) -> Iterator[Key]:
    """Yield the keys of a mapping and those below it; note in `option` what its special keys say."""
    lines = text.splitlines()
    for name_node, value in node.value:
        name = f"{prefix}.{name_node.value}".lstrip(".")
        if name_node.value == "defaults" and node.start_mark.column == 0:
            read_defaults(yaml.safe_load(source(value, text)), option)
        elif name_node.value == "_target_":
            if prefix == option.place:
                option.target = value.value
        elif name_node.value in SPECIAL:
            continue
        elif isinstance(value, yaml.MappingNode) and not value.flow_style:
            target = next((child.value for key, child in value.value if key.value == "_target_"), None)
            if target is not None and name != option.place:
                comment = comment_of(name_node, name_node, lines) or summary(target)
                yield Key(name, target, comment, True)
            yield from read_keys(value, name, text, option)
        else:
            is_block = isinstance(value, yaml.CollectionNode) and not value.flow_style
            comment = comment_of(name_node, name_node if is_block else value, lines)
            yield Key(name, source(value, text), comment, False)


def read_defaults(entries: list[object], option: Option) -> None:
    for entry in entries:
        if isinstance(entry, str):
            if entry != "_self_":
                option.bases.append(entry.partition("@")[0].removeprefix(f"/{option.group}/"))
        elif isinstance(entry, dict):
            for words, choice in entry.items():
                group = str(words).split()[-1]
                whole = group.lstrip("/") if group.startswith("/") else f"{option.group}/{group}".lstrip("/")
                if not whole.startswith("hydra/"):
                    option.choices.append(f"{whole}={'null' if choice is None else choice}")


def source(node: yaml.Node, text: str) -> str:
    """Return a value as it is written, in one line."""
    written = text[node.start_mark.index : node.end_mark.index].strip()
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        start = " " * node.start_mark.column
        whole = yaml.safe_load(textwrap.dedent(start + written))
        return yaml.safe_dump(whole, default_flow_style=True, width=10_000).strip()
    return " ".join(written.split())


def comment_of(name: yaml.Node, value: yaml.Node, lines: Sequence[str]) -> str:
    """Return the comment behind a value, or else the lines of comments right above its key."""
    line = value.end_mark.line
    if line < len(lines):
        behind = lines[line][value.end_mark.column :].lstrip(": ")
        if behind.startswith("#"):
            return behind.lstrip("# ").strip()
    above: list[str] = []
    for before in reversed(lines[: name.start_mark.line]):
        if not before.strip().startswith("#") or len(above) == name.start_mark.line:
            break
        above.insert(0, before.strip().lstrip("# "))
    return "" if len(above) == name.start_mark.line else " ".join(above)  # at the top it is the file's own


def summary(target: str) -> str:
    """Return the first sentence of the docstring of what a `_target_` names."""
    if not target.startswith("dqn."):
        return f"`{target}`"
    text = inspect.getdoc(get_object(target)) or ""
    return " ".join(text.split("\n\n")[0].split())


def read(conf: Path) -> dict[str, list[Option]]:
    """Return the options of every group; those of the group "" are config.yaml and what it begins with."""
    groups: dict[str, list[Option]] = {}
    for path in sorted(conf.rglob("*.yaml")):
        option = read_option(path, conf)
        groups.setdefault(option.group, []).append(option)
    return groups


class Reference:
    """The reference of a folder of options."""

    def __init__(self, conf: Path) -> None:
        self.groups = read(conf)
        (self.root,) = (option for option in self.groups.pop("") if option.name == "config")
        self.chosen: dict[str, str] = {}
        self.choose(self.root)
        self.comments: dict[str, str] = {}
        for options in [[self.root], *self.groups.values()]:
            for key in (key for option in options for key in option.keys):
                self.comments[key.name] = self.comments.get(key.name) or key.comment
        for group, options in self.groups.items():
            first = self.chosen.get(group)
            self.groups[group] = sorted(options, key=lambda option: option.name != first)

    def choose(self, option: Option) -> None:
        """Note what an option of the default configuration chooses."""
        for choice in option.choices:
            group, _, name = choice.partition("=")
            if group in self.chosen:
                continue
            self.chosen[group] = name
            for one in self.groups.get(group, ()):
                if one.name == name:
                    self.choose(one)

    def order(self) -> list[str]:
        """Return the groups in the order of config.yaml, each before those below it; recipes last."""
        tops = list(dict.fromkeys(group.partition("/")[0] for group in self.chosen))

        def rank(group: str) -> tuple[bool, int, str]:
            top = group.partition("/")[0]
            return group == "experiment", tops.index(top) if top in tops else len(tops), group

        return sorted(self.groups, key=rank)

    def lacking(self) -> list[str]:
        """Return the keys that have no comment, nor does one where their option begins."""
        lack = [f"config: {key.name}" for key in self.root.keys if not documented(key)]
        for group, options in self.groups.items():
            for option in options if group != "experiment" else ():
                inherited = {key.name for key in self.inherited(option) if key.comment}
                for key in option.keys:
                    own = key.name.startswith(f"{option.place}.")
                    elsewhere = key.name in inherited if own else self.comments[key.name]
                    if not key.comment and not elsewhere:
                        lack.append(f"{group}/{option.name}: {key.name}")
        return lack

    def inherited(self, option: Option) -> list[Key]:
        """Return the keys of the options that an option begins with, the nearest last."""
        keys: list[Key] = []
        for base in (one for one in self.groups[option.group] if one.name in option.bases):
            keys += [*self.inherited(base), *base.keys]
        return keys

    def text(self) -> str:
        """Return all of it as Markdown."""
        sections = [INTRODUCTION, self.run_section()]
        for group in self.order():
            section = self.recipes() if group == "experiment" else self.section(group)
            sections.append(section)
        return "\n".join(sections)

    def run_section(self) -> str:
        keys = [key for key in self.root.keys if key.comment and not key.is_part]
        return "\n".join(["## The run", "", *table([("", key) for key in keys]), ""])

    def section(self, group: str) -> str:
        """Return a group: its options, then the keys of those that are not like another."""
        lines = [f"{'#' * (2 + group.count('/'))} `{group}`", ""]
        lines += ["| option | what it is |", "|---|---|"]
        rows: list[tuple[str, Key]] = []
        models: list[Option] = []
        for option in self.groups[group]:
            about, keys = self.about(option, models)
            rows += [(option.name, key) for key in keys]
            default = " (default)" if option.name == self.chosen.get(group) else ""
            lines.append(row(f"`{option.name}`{default}", about))
        rows = merged(rows)
        if rows:
            lines += ["", *table(rows, several=len(models) > 1 or len({name for name, _ in rows}) > 1)]
        return "\n".join([*lines, ""])

    def about(self, option: Option, models: list[Option]) -> tuple[str, list[Key]]:
        """Return what an option is, and the keys that are not told with another.

        Args:
            option: of any group.
            models: the options before that are like no other; it may become one.
        """
        keys = [key for key in option.keys if key.name.startswith(f"{option.place}.")]
        others = [key for key in option.keys if key not in keys]
        siblings = {one.name: one for one in self.groups[option.group]}
        bases = [siblings[name] for name in option.bases if name in siblings]
        likes = bases or [model for model in models if alike(option, model)][:1]
        told = [sentence(option.about)] if option.about else []
        if likes:
            if likes[0].about == option.about:
                told = []
            before = {key.name: key for like in likes for key in (*self.inherited(like), *like.keys)}
            different = [key for key in keys if key.name in before and before[key.name][:2] != key[:2]]
            keys = [key for key in keys if key.name not in before]
            words = ", ".join(word(key) + note(key, before[key.name]) for key in different)
            names = " and ".join(f"`{like.name}`" for like in likes)
            told.append(f"As {names}, but {words}." if words else f"As {names}.")
        else:
            models.append(option)
        if others:
            told.append(f"Sets {', '.join(map(word, others))}.")
        if option.choices:
            told.append(f"With {', '.join(f'`{choice}`' for choice in option.choices)}.")
        return " ".join(told), keys

    def recipes(self) -> str:
        lines = ["## `experiment`", "", RECIPES, ""]
        for option in self.groups["experiment"]:
            words = [*(f"+experiment={base}" for base in option.bases), *option.choices]
            words += [f"{key.name}={key.value}".replace(", ", ",") for key in option.keys]
            lines += [f"### `{option.name}`", "", option.about, "", "```"]
            lines += textwrap.wrap(" ".join(words), 110, break_long_words=False, break_on_hyphens=False)
            lines += ["```", ""]
        return "\n".join(lines).rstrip() + "\n"


def documented(key: Key) -> bool:
    """Return whether a key of config.yaml has its comment; of Hydra's own there are many more."""
    return bool(key.comment) or key.name.startswith("hydra.")


def alike(option: Option, model: Option) -> bool:
    """Return whether two options are the same but for a few values."""
    keys, others = ({key.name: key for key in one.keys} for one in (option, model))
    if option.target != model.target or keys.keys() != others.keys():
        return False
    return sum(keys[name] != others[name] for name in keys) <= len(keys) / 2


def merged(rows: list[tuple[str, Key]]) -> list[tuple[str, Key]]:
    """Return rows with the same key in one, of all options that have it so; equal keys stand together."""
    options: dict[Key, list[str]] = {}
    for option, key in rows:
        options.setdefault(key, []).append(option)
    order = list(dict.fromkeys(key.name for key in options))
    keys = sorted(options, key=lambda key: order.index(key.name))
    return [(", ".join(f"`{option}`" for option in options[key]), key) for key in keys]


def table(rows: Sequence[tuple[str, Key]], several: bool = False) -> list[str]:
    """Return the lines of a table of keys, with the options that have them where these are several."""
    head = ["key", "default", "meaning"]
    lines = [row(*head, *["option"] * several), "|---" * (len(head) + several) + "|"]
    for options, key in rows:
        lines.append(row(f"`{key.name}`", f"`{key.value}`", key.comment, *[options] * several))
    return lines


def row(*cells: str) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def escaped(cell: str) -> str:
    """Return text as it stands in a table: nothing outside of code is Markdown or HTML."""
    prose_and_code = re.split(r"(`[^`]*`)", cell.replace("|", r"\|"))
    return "".join(
        part if part.startswith("`") else re.sub(r"[*<]", r"\\\g<0>", part) for part in prose_and_code
    )


def word(key: Key) -> str:
    return f"`{key.name}{'._target_' * key.is_part}={key.value}`"


def note(key: Key, before: Key) -> str:
    """Return in brackets a comment that says something else than before."""
    return f" ({key.comment})" if key.comment and key.comment != before.comment and not key.is_part else ""


def sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is stale")
    arguments = parser.parse_args()
    text = Reference(CONF).text()
    if not arguments.check:
        FILE.write_text(text)
    elif not FILE.exists() or FILE.read_text() != text:
        sys.exit(f"{FILE.name} is stale: python scripts/reference.py writes it anew")


if __name__ == "__main__":
    main()
