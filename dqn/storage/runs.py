"""Find run folders."""

from collections.abc import Iterator
from pathlib import Path

from dqn.storage.reader import is_plain, listed


def runs_in(folder: Path) -> Iterator[Path]:
    """Yield the run folders in a folder, which may be one; symbolic links are not followed."""
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        if is_plain(path, ".hydra/config.yaml") or is_plain(path, "status.json"):
            yield path
            continue
        below = (one for one in listed(path) if one.is_dir(follow_symlinks=False))
        waiting += [path / one.name for one in below if not one.name.startswith(".")]


def newest(runs: list[Path]) -> Path | None:
    """Return the run folder that was changed last."""
    return max(runs, key=lambda path: path.lstat().st_mtime_ns, default=None)
