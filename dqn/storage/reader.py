"""Read the files of a run folder as data: plain files inside the folder, of bounded size."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from dqn.errors import UserError

JSON_BYTES = 2**26
"""Largest JSON or YAML file that is read; status.json of 1,000 seeds has less than a hundredth."""


def open_file(folder: Path, name: str, most: int = JSON_BYTES) -> BufferedReader:
    """Open a file of a run folder for reading.

    Args:
        folder: the run folder.
        name: path of the file in it.
        most: greatest size in bytes.

    Raises:
        OSError: the file is missing, too large, not a plain file, or reached through a link.
    """
    path = plain_path(folder, name)
    if path.stat().st_size > most:
        raise OSError(errno.EFBIG, f"has more than {most:,} bytes")
    return path.open("rb")


def plain_path(folder: Path, name: str) -> Path:
    """Return the path of a plain file; OSError if it is another kind of file or reached through a link."""
    path = folder / name
    is_file = stat.S_ISREG(path.lstat().st_mode)
    if not is_file or os.path.realpath(path) != str(Path(os.path.realpath(folder), name)):
        raise OSError(errno.EINVAL, "not a plain file in this folder")  # opening a pipe could wait for ever
    return path


def read_file(folder: Path, name: str, most: int = JSON_BYTES) -> bytes:
    """Return the content of a file of a run folder; OSError as for `open_file`."""
    with open_file(folder, name, most) as file:
        return file.read(most)


def is_plain(folder: Path, name: str) -> bool:
    """Return whether a run folder has a plain file of this name."""
    try:
        plain_path(folder, name)
    except OSError:
        return False
    return True


def listed(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """Return the entries of a folder by name; none if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def refuse_special_files(folder: Path) -> None:
    """Raise UserError if a run folder has links, pipes or devices, which writing would follow or wait for."""
    waiting = [os.fspath(folder)]
    while waiting:  # without recursion: the folders of others may be nested without an end
        for entry in listed(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif not entry.is_file(follow_symlinks=False):
                kind = "a symbolic link" if entry.is_symlink() else "a pipe, socket or device"
                raise UserError(f"{entry.path}: {kind}; writing would follow it, and no run makes one")
