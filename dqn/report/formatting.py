"""Turn values of a run, which can be anything, into texts that are safe to display."""

import math
from typing import Any

from dqn.errors import format_value, one_line


def setting_text(value: Any) -> str:
    """Return a value as a user would type it; equal numbers are equal texts."""
    if isinstance(value, list):
        return one_line(f"[{', '.join(map(setting_text, value))}]")
    return f"{value:.12g}" if isinstance(value, float) else one_line(format_value(value))


def short_name(text: str) -> str:
    """Return a value for display; a dotted class path becomes the class's name."""
    module, dot, name = text.rpartition(".")
    return name if dot and all(part.isidentifier() for part in (*module.split("."), name)) else text


def to_number(text: str) -> float:
    """Return the number that a text is; NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
