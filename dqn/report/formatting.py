"""Values of a run, of which anything may be expected, as numbers and as texts that can be shown."""

from typing import Any, TypeGuard

TEXT_LENGTH = 2000
"""Characters that are shown of one text of a run."""


def is_number(value: object) -> TypeGuard[float]:
    """Return whether `value` is a finite number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300


def flat(node: dict[Any, Any], path: str = "") -> dict[str, str]:
    """Return a configuration as dotted keys and texts; an object's own key has the name of its class."""
    values: dict[str, str] = {}
    for key, value in node.items():
        below = f"{path}.{key}" if path else str(key)
        if key == "_target_":
            values[plain(path)] = plain(value)
        elif isinstance(value, dict) and value:
            values |= flat(value, below)
        elif key != "_partial_":
            values[plain(below)] = shown(value)
    return values


def shown(value: Any) -> str:
    """Return a value as it would be typed; equal numbers are equal texts."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return plain(f"[{', '.join(map(shown, value))}]")
    return f"{value:.12g}" if isinstance(value, float) else plain(value)


def plain(value: object) -> str:
    """Return a text of one line in which everything can be seen, cut to a bearable length."""
    text = "".join(c if c.isprintable() else " " for c in str(value)[: TEXT_LENGTH + 1])
    text = " ".join(text.split())
    return text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH] + "…"


def value_of(text: str) -> str:
    """Return a value for the eye: of a class, its name."""
    module, dot, name = text.rpartition(".")
    return name if dot and all(part.isidentifier() for part in (*module.split("."), name)) else text


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
