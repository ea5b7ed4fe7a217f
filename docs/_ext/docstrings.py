"""Sphinx extension: read docstrings in which only backticks are markup, as this project writes them."""

import re
from typing import Any

MARKUP = re.compile(r"[*|]|(?<=\w)_(?!\w)")
"""Characters that reStructuredText would read as emphasis, substitutions or references."""


def escape(*arguments: Any) -> None:
    """Escape reStructuredText's markup outside code, before napoleon reads the sections."""
    lines: list[str] = arguments[-1]
    for i, line in enumerate(lines):
        parts = re.split(r"(`[^`]*`)", line)
        lines[i] = "".join(part if part.startswith("`") else MARKUP.sub(r"\\\g<0>", part) for part in parts)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("autodoc-process-docstring", escape, priority=400)
    return {"parallel_read_safe": True}
