"""README and the pages of docs/, as blocks, commands and code spans."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from helpers import ROOT

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md"]
PAGES += [page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts]
FENCE = re.compile(r"^(`{3,})([^\n]*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
SCRIPT = re.compile(r"^(?:\.venv/bin/)?python ((?:scripts|docs/_tools)/\w+\.py)")


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


class Command(NamedTuple):
    """A command line of a page, without its comment."""

    name: str
    line: str

    @property
    def script(self) -> str | None:
        found = SCRIPT.match(self.line)
        return found[1] if found else None

    @property
    def words(self) -> tuple[str, ...]:
        """Return what follows the script."""
        return tuple(shlex.split(SCRIPT.sub("", self.line)))


@cache
def blocks(language: str) -> list[Block]:
    """Return all blocks of a language."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            if match[2] == language:
                line = text.count("\n", 0, match.start()) + 1
                found.append(Block(str(page.relative_to(ROOT)), line, language, match[3]))
    return found


@cache
def spans() -> list[tuple[str, str]]:
    """Return the pages and the texts of all code spans."""
    return [
        (str(page.relative_to(ROOT)), " ".join(span.split()))
        for page in PAGES
        for span in SPAN.findall(FENCE.sub("", page.read_text()))
    ]


def commands() -> Iterator[Command]:
    """Yield the command lines of all blocks, and those of scripts in code spans."""
    for block in blocks("bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield Command(block.name, shlex.join(words))
    for page, span in spans():
        if SCRIPT.match(span):
            yield Command(page, span)


def commands_of(*scripts: str) -> list[Command]:
    """Return the commands of some scripts, each once."""
    found = {command.line: command for command in commands() if command.script in scripts}
    return list(found.values())


def read(page: str) -> str:
    return Path(ROOT / page).read_text()
