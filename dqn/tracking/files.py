"""Files that a resumed run continues from their size at its checkpoint."""

import os
from pathlib import Path

from dqn.errors import UserError


def cut(path: Path, size: int) -> None:
    """Truncate a file to `size` bytes.

    Raises:
        UserError: the file has fewer bytes.
    """
    check_size(path, size)
    os.truncate(path, size)


def check_size(path: Path, size: int) -> None:
    """Raise UserError if a file has fewer than `size` bytes."""
    if not path.exists() or path.stat().st_size < size:
        raise UserError(f"{path}: damaged, the checkpoint follows {size} bytes of it")
