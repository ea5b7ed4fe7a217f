"""Errors that a user sees as a message, without a traceback."""

SHOWN = 300
"""Characters of a foreign value in a message."""


class UserError(Exception):
    """A mistake or a condition that the user can fix; its text says how, and no terminal acts on it."""

    def __str__(self) -> str:
        return printable(super().__str__())


class InUse(UserError):
    """Another process is using the run folder."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or the name of its type if it has no text."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def printable(text: str) -> str:
    """Return a text with escapes for all characters that are not printable, except line ends."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text
    )


def shown(value: object) -> str:
    """Return a foreign value as one line of printable characters, at most SHOWN long."""
    text = printable(str(value)[: SHOWN + 1]).replace("\n", "\\n")
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def format_value(value: object) -> str:
    """Return a value in the syntax of the command line, on one line."""
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return printable(text).replace("\n", "\\n")


class WrongValue(UserError):
    """A wrong value of a configuration key, and what it should be."""

    def __init__(self, key: str, value: object, should: str) -> None:
        super().__init__(key, value, should)
        self.key, self.value, self.should = key, value, should

    def __str__(self) -> str:
        return printable(f"{self.key}={format_value(self.value)}: {self.should}")
