"""What a user is told without a traceback."""


class UserError(Exception):
    """A mistake or a condition that the user can mend; its text says how."""


class InUse(UserError):
    """Another process works on the folder of a run."""


def first_line(error: Exception) -> str:
    """Return an error's text up to its first line's end, or its name where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def format_value(value: object) -> str:
    """Return a value as it is written on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


class WrongValue(UserError):
    """The value of one configuration key is wrong."""

    def __init__(self, key: str, value: object, should: str) -> None:
        super().__init__(key, value, should)
        self.key, self.value, self.should = key, value, should

    def __str__(self) -> str:
        return f"{self.key}={format_value(self.value)}: {self.should}"
