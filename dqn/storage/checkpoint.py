"""Checkpoints: files and a manifest, which is replaced in one step, so a crash leaves the previous one."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from dqn.errors import UserError, first_line
from dqn.storage.durable_files import replace_file, sync_folder

FORMAT = 4
"""Version of the files' content; checkpoints of other versions are refused."""

Entry = dict[str, Any]
"""Manifest entry of a file: name, size in bytes, sha256."""


class Part(Protocol):
    """A part of a checkpoint, which stores itself in files in the checkpoint's folder."""

    def save(self, folder: Path, stem: str) -> list[str]:
        """Write files named `stem`.SUFFIX; return the names of all files that hold this part.

        Files of earlier saves may be among them if they have not changed.
        """

    def load(self, folder: Path, names: list[str]) -> None:
        """Restore what `save` stored; the files have been verified."""


class HasState(Protocol):
    """An object whose state is nested dicts and lists of tensors, arrays and plain values."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> Any: ...


class TorchPart:
    """A part in one file: the state of an object, with arrays as tensors."""

    def __init__(self, owner: HasState) -> None:
        self.owner = owner

    def save(self, folder: Path, stem: str) -> list[str]:
        name = f"{stem}.pt"
        try:
            with (folder / name).open("wb") as file:
                torch.save(to_tensors(self.owner.state_dict()), file)
        except RuntimeError as error:
            # after a failed or interrupted write torch's zip writer fails again; raise the first error
            raise error.__context__ or OSError(first_line(error)) from None
        return [name]

    def load(self, folder: Path, names: list[str]) -> None:
        self.owner.load_state_dict(read_state(folder, names))


class Checkpoint:
    """The checkpoint of one run folder: parts in separate files, listed by `manifest.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkpoint"
        self.manifest = self.folder / "manifest.json"

    def save(self, iteration: int, parts: Mapping[str, Part]) -> None:
        """Replace the checkpoint by `parts`, keeping its other parts as they are.

        New files are written and made durable, then the manifest is replaced, then old files are removed.

        Raises:
            UserError: the checkpoint could not be written; the previous one remains.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            files = self._files()
            for name, part in parts.items():
                files[name] = self._store(part, f"{name}-{iteration}", files.get(name, []))
            sync_folder(self.folder)
            replace_file(
                self.manifest, json.dumps({"format": FORMAT, "iteration": iteration, "files": files})
            )
            self._remove_old()
        except OSError as error:
            with suppress(OSError, UserError):  # make room for the status, which reports the failure
                self._remove_old()
            raise UserError(f"{self.folder}: the checkpoint could not be written ({error})") from None

    def _store(self, part: Part, stem: str, before: list[Entry]) -> list[Entry]:
        """Save a part, make its new files durable and return the entries of all of its files."""
        kept = {entry["name"]: entry for entry in before if not entry["name"].startswith(f"{stem}.")}
        return [kept.get(name) or self._entry(name) for name in part.save(self.folder, stem)]

    def _entry(self, name: str) -> Entry:
        path = self.folder / name
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        return {"name": name, "size": path.stat().st_size, "sha256": digest(path)}

    def _remove_old(self) -> None:
        """Remove every file that the manifest does not list."""
        names = {entry["name"] for entries in self._files().values() for entry in entries}
        for path in self.folder.iterdir():
            if path.name not in names and path != self.manifest:
                path.unlink(missing_ok=True)

    def _files(self) -> dict[str, list[Entry]]:
        files: dict[str, list[Entry]] = self._read_manifest()["files"] if self.exists() else {}
        return files

    def exists(self) -> bool:
        return self.manifest.exists()

    def has(self, part: str) -> bool:
        return part in self._files()

    def iteration(self) -> int:
        """Return the number of finished iterations."""
        return int(self._read_manifest()["iteration"])

    def restore(self, parts: Mapping[str, Part]) -> None:
        """Load `parts` in order.

        Raises:
            UserError: there is no checkpoint, or it is damaged, of another format, or of another run.
        """
        names = {part: self._verified(part) for part in parts}
        for name, part in parts.items():
            try:
                part.load(self.folder, names[name])
            except (KeyError, TypeError, ValueError, IndexError, RuntimeError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise UserError(f"{self.folder}: the checkpoint is not of this run ({reason})") from None

    def load(self, part: str) -> Any:
        """Return the state in a `TorchPart`, with arrays as tensors.

        Raises:
            UserError: there is no checkpoint, or it is damaged, of another format, or not a checkpoint.
        """
        return read_state(self.folder, self._verified(part))

    def verify(self) -> None:
        """Raise UserError unless the files of every part are as they were written."""
        for part in self._files():
            self._verified(part)

    def _verified(self, part: str) -> list[str]:
        """Return the names of a part's files; raise UserError unless they are as they were written."""
        entries = self._read_manifest()["files"].get(part)
        if not isinstance(entries, list) or not entries:
            raise UserError(f"{self.manifest}: lists no valid files for the part {part!r}")
        for entry in entries:
            name = str(entry.get("name")) if isinstance(entry, dict) else ""
            if not re.fullmatch(rf"{re.escape(part)}-\d+\.[a-z]+", name) or "/" in part:
                raise UserError(f"{self.manifest}: lists no valid files for the part {part!r}")
            path = self.folder / name
            try:
                whole = path.stat().st_size == entry.get("size") and digest(path) == entry.get("sha256")
            except OSError as error:
                raise unreadable(path, error) from None
            if not whole:
                raise UserError(f"{path}: damaged, its size or content differs from what was written")
        return [entry["name"] for entry in entries]

    def _read_manifest(self) -> dict[str, Any]:
        try:
            manifest: dict[str, Any] = json.loads(self.manifest.read_text())
            version = manifest["format"]
        except FileNotFoundError:
            raise UserError(f"{self.folder}: no checkpoint here") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = first_line(error)
            raise UserError(f"{self.manifest}: not a readable checkpoint manifest ({reason})") from None
        if version != FORMAT:
            raise UserError(f"{self.manifest}: checkpoint format {version}; this version reads {FORMAT}")
        if not isinstance(manifest.get("files"), dict) or not isinstance(manifest.get("iteration"), int):
            raise UserError(f"{self.manifest}: not a readable checkpoint manifest")
        return manifest


def read_state(folder: Path, names: list[str]) -> Any:
    """Return the state that a `TorchPart` stored, without running code from the file.

    Raises:
        UserError: the file is not readable.
    """
    path = folder / names[0]
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load may raise anything for foreign bytes
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a readable part of a checkpoint ({first_line(error)})")


def to_tensors(state: Any) -> Any:
    """Return `state` with arrays as tensors, which torch.load reads without running code."""
    if isinstance(state, np.ndarray):
        return torch.from_numpy(state)
    if isinstance(state, dict):
        return {key: to_tensors(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [to_tensors(value) for value in state]
    return state


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
