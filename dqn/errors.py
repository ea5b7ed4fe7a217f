"""Errors that a user sees as a message, without a traceback."""

import logging
import re
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")

NAME = "lockstep-dqn"
"""This project's name for pip; `dqn` is another project on the public registry."""


log = logging.getLogger(__name__)

PACKAGE = str(Path(__file__).parent)
"""Folder of this package, whose lines no message about custom code names."""


class UserError(Exception):
    """A mistake or a condition that the user can fix; its text says how, and no terminal acts on it."""

    def __str__(self) -> str:
        return printable(super().__str__())

    def _render_traceback_(self, *_: object) -> list[str]:
        """Return the lines that IPython and notebooks print: the message, without frames and causes."""
        return [f"{type(self).__name__}: {self}"]


class InUse(UserError):
    """Another process is using the run folder."""


class EnvFailed(UserError):
    """An environment raised an error or gave what its spaces exclude; the text names it and the step."""


TRACEBACK_ENTRIES = 8
"""Calls of a traceback of custom code that are logged, the last ones."""
MOST_CHARACTERS = 2000
"""Characters displayed of one text that a file or another package gives."""
LONGEST_VALUE = 200
"""Characters of a value or a space in an error."""
FEW_NUMBERS = 12
"""Numbers of an array that are all displayed."""


COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Codes that colour the text of a terminal, which torch's errors contain."""


def printable(text: str) -> str:
    """Return a text with escapes for all characters that are not printable, except line ends."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text
    )


def one_line(value: object) -> str:
    """Return a text, or the cause of an error with its type, as one line of printable characters."""
    if isinstance(value, BaseException):
        cause = root_cause(value)
        try:
            value = f"{type(cause).__name__}: {cause}".removesuffix(": ")
        except Exception:  # a class of the user's
            value = type(cause).__name__
    text = COLOURS.sub("", str(value)[: MOST_CHARACTERS + 1])
    return shorten(printable(" ".join(text.split())), MOST_CHARACTERS)


def root_cause(error: BaseException) -> BaseException:
    """Return the error that an error was raised from, and so on; itself if there is none."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def log_traceback(error: BaseException) -> None:
    """Log the last calls of an error's traceback."""
    *calls, cause = traceback.format_exception(error, limit=-TRACEBACK_ENTRIES)
    log.error("%s", printable("".join(calls) + shorten(cause.rstrip(), MOST_CHARACTERS)))


def failure(what: str, error: BaseException) -> UserError:
    """Return the error about an exception in custom code, with its first line there; log its traceback.

    Args:
        what: names the code and the method.
        error: the exception; that it is a UserError needs no traceback.
    """
    entries = [e for e in traceback.extract_tb(error.__traceback__) if not e.filename.startswith(PACKAGE)]
    where = f" ({Path(entries[0].filename).name}, line {entries[0].lineno})" if entries else ""
    if isinstance(error, UserError):
        return UserError(f"{what}{where}: {error}")
    log_traceback(error)
    return UserError(f"{what}{where}: {one_line(error)}")


def shorten(text: str, most: int) -> str:
    """Return a text cut to at most `most` characters, of which the last one is then "…"."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def brief(value: object) -> str:
    """Return a value as printable text of at most LONGEST_VALUE characters; of an array a few numbers."""
    with np.printoptions(threshold=FEW_NUMBERS, edgeitems=2):
        return shorten(one_line(repr(value)), LONGEST_VALUE)


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def exit_reason(code: int | None) -> str:
    """Return how a process ended, from its exit code, which is negative for a signal."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    names = {one.value: one.name for one in signal.Signals}
    return f"killed by {names.get(-code, f'signal {-code}')}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its type if it has no text."""
    return COLOURS.sub("", next(iter(str(error).splitlines()), type(error).__name__))


def cause_of(error: BaseException) -> str:
    """Return the first line of the error that an error was raised from, and where that was raised.

    That is the innermost function outside installed packages, because torch's functions say little.
    """
    cause = root_cause(error)
    text = next(iter(str(cause).splitlines()), "")
    frames = traceback.extract_tb(cause.__traceback__ or error.__traceback__)
    frame = next((one for one in reversed(frames) if "site-packages" not in one.filename), frames[-1])
    notes = [f"{type(cause).__name__}: {text}".removesuffix(": "), *getattr(cause, "__notes__", ())]
    origin = f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"
    return one_line(f"{'; '.join(notes)} ({origin})")


def file_problem(error: Exception) -> str:
    """Return why a file cannot be read or used, without its path, which the text of an OSError repeats."""
    return getattr(error, "strerror", None) or first_line(error)


def format_value(value: object) -> str:
    """Return a value in the syntax of the command line, on one line."""
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return printable(text).replace("\n", "\\n")


MISSING = object()
"""The value of a missing key."""


class WrongValue(UserError):
    """A wrong value of a key, or none, and what it should be."""

    def __init__(self, key: str, value: object, should: str) -> None:
        super().__init__(key, value, should)
        self.key, self.value, self.should = key, value, should

    def __str__(self) -> str:
        value = " is missing" if self.value is MISSING else f"={format_value(self.value)}"
        return printable(f"{self.key}{value}: {self.should}")


def install(extra: str) -> str:
    """Return the command that installs an extra."""
    in_checkout = Path(__file__).parents[1].joinpath("pyproject.toml").is_file()
    if in_checkout:
        return f'pip install -c constraints.txt -e ".[{extra}]"'
    return f'pip install "{NAME}[{extra}]"'


@contextmanager
def needs_extra(user: str, package: str, extra: str) -> Iterator[None]:
    """Raise UserError, with the command that installs an extra, if the body cannot import its package."""
    try:
        yield
    except ImportError:
        raise UserError(f"{user} needs {package}; install the extra `{extra}`: {install(extra)}") from None


def short_traceback(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a public function so that the traceback of Ctrl-C shows no frames of this package below it."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except KeyboardInterrupt as error:
            raise error.with_traceback(None) from None

    return call
