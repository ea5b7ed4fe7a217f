"""Values of a run, which can be anything, as texts that can be shown."""

from typing import Any

TEXT_LENGTH = 2000
"""Characters that are shown of one text of a run."""


def setting_text(value: Any) -> str:
    """Return a value as it would be typed; equal numbers are equal texts."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return one_line(f"[{', '.join(map(setting_text, value))}]")
    return f"{value:.12g}" if isinstance(value, float) else one_line(value)


def one_line(value: object) -> str:
    """Return a text of one line in which everything can be seen, cut to a bearable length."""
    text = "".join(c if c.isprintable() else " " for c in str(value)[: TEXT_LENGTH + 1])
    text = " ".join(text.split())
    return text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH] + "…"


def short_name(text: str) -> str:
    """Return a value for the eye: of a class, its name."""
    module, dot, name = text.rpartition(".")
    return name if dot and all(part.isidentifier() for part in (*module.split("."), name)) else text


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
