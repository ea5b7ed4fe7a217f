"""Files that survive a crash: each has its old or its new content."""

import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from dqn.system import replace, sync_folder


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Replace a JSON file; numbers that are not finite, which JSON lacks, become null.

    Bytes that are no UTF-8, which the names of files may have, are escaped.
    """
    replace_file(path, json.dumps(valid(value), indent=indent, allow_nan=False) + "\n")


def valid(value: Any) -> Any:
    """Return nested dicts and lists with None for numbers that are not finite, and texts that are UTF-8."""
    if isinstance(value, dict):
        return {key: valid(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [valid(one) for one in value]
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def replace_file(path: Path, text: str) -> None:
    """Write a file so that after a crash it has either its old or its new content.

    Several processes may write the same file: each has its own temporary file, which is never an existing
    one, such as a link to another file.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()  # makes room on a full disk
        raise
    sync_folder(path.parent)
