"""Errors that a user sees as a message, without a traceback."""


class UserError(Exception):
    """A mistake or a condition that the user can fix; its text says how."""


class InUse(UserError):
    """Another process is using the run folder."""


class EnvFailed(UserError):
    """An environment raised an error or gave what its spaces exclude; the text names it and the step."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or the name of its type if it has no text."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def one_line(error: BaseException) -> str:
    """Return the type and the text of an error in one line."""
    return printable(f"{type(error).__name__}: {error}")


def printable(text: str) -> str:
    """Return a text in one line, with escapes for characters that a terminal does not print."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))


def format_value(value: object) -> str:
    """Return a value in the syntax of the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


class WrongValue(UserError):
    """A wrong value of a configuration key, and what it should be."""

    def __init__(self, key: str, value: object, should: str) -> None:
        super().__init__(key, value, should)
        self.key, self.value, self.should = key, value, should

    def __str__(self) -> str:
        return f"{self.key}={format_value(self.value)}: {self.should}"
