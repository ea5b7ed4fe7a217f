"""Checkpoints: files and a manifest, which is replaced in one step, so a crash leaves the previous one."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from dqn.errors import UserError, file_problem, first_line, one_line
from dqn.storage.durable_files import write_json
from dqn.storage.reader import open_file, read_file
from dqn.storage.schema import FORMAT, PARTS, Entry, Format, Manifest, checked, parsed
from dqn.storage.tensor_file import bytes_of, load_tensors
from dqn.system import remove, sync_folder

SMALL = 2**26
"""Bytes that every part may have, however small its objects are."""
GROWTH = 100
"""Greatest size of a part in multiples of what its object holds before loading; optimizers start empty."""


class Part(Protocol):
    """A part of a checkpoint, which stores itself in files in the checkpoint's folder."""

    def save(self, folder: Path, stem: str) -> list[str]:
        """Write files named `stem`.SUFFIX; return the names of all files that hold this part.

        Files of earlier saves may be among them if they have not changed.
        """

    def load(self, folder: Path, names: list[str]) -> None:
        """Restore what `save` stored; the files have been verified."""

    def most_bytes(self) -> int:
        """Return the greatest size of its files together; larger ones are not read."""


class HasState(Protocol):
    """An object whose state is nested dicts and lists of tensors, arrays and plain values."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> None: ...


class TorchPart:
    """A part in one file: the state of an object, with arrays as tensors.

    Args:
        owner: the object.
        like: an object whose state has at least the size of the owner's, which may be empty before loading.
    """

    def __init__(self, owner: HasState, *, like: HasState | None = None) -> None:
        self.owner, self._like = owner, like or owner

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

    def most_bytes(self) -> int:
        return most_bytes(self._like.state_dict())


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
            content = Manifest(format=FORMAT, iteration=iteration, files=files)
            write_json(self.manifest, content, indent=None)
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
            sha256 = digest(file)
        return {"name": name, "size": path.stat().st_size, "sha256": sha256}

    def remove(self) -> None:
        """Remove the checkpoint; after a crash it is whole or gone."""
        self.manifest.unlink(missing_ok=True)
        if self.folder.exists():
            sync_folder(self.folder)
            self._remove_old()

    def _remove_old(self) -> None:
        """Remove every file that the manifest does not list."""
        names = {entry["name"] for entries in self._files().values() for entry in entries}
        for path in self.folder.iterdir():
            if path.name not in names and path != self.manifest:
                remove(path)

    def _files(self) -> dict[str, list[Entry]]:
        return self._read_manifest()["files"] if self.exists() else {}

    def exists(self) -> bool:
        return self.manifest.exists()

    def has(self, part: str) -> bool:
        return part in self._files()

    def iteration(self) -> int:
        """Return the number of finished iterations."""
        return self._read_manifest()["iteration"]

    def restore(self, parts: Mapping[str, Part]) -> None:
        """Load `parts` in order.

        Raises:
            UserError: there is no checkpoint, or it is damaged, of another format, or of another run.
        """
        names = {name: self._verified(name, part.most_bytes()) for name, part in parts.items()}
        for name, part in parts.items():
            try:
                part.load(self.folder, names[name])
            except UserError:
                raise
            except Exception as error:  # a custom part may raise anything
                raise self.foreign(name, error) from None

    def load(self, part: str, *, most: int = SMALL) -> Any:
        """Return the state in a `TorchPart` of at most `most` bytes, with arrays as tensors.

        Raises:
            UserError: there is no checkpoint, or it is damaged, of another format, or not a checkpoint.
        """
        return read_state(self.folder, self._verified(part, most))

    def foreign(self, part: str, error: Exception) -> UserError:
        """Return the error about a part that does not fit this run."""
        reason = one_line(f"{type(error).__name__}: {error}")
        return UserError(f"{self.folder}: the part {part!r} of the checkpoint is not of this run ({reason})")

    def _verified(self, part: str, most: int) -> list[str]:
        """Return the names of a part's files; raise UserError unless they are as they were written."""
        entries = self._files_of(part)
        if sum(entry["size"] for entry in entries) > most:
            raise UserError(f"{self.manifest}: the part {part!r} is too large for this run")
        for entry in entries:
            path = self.folder / entry["name"]
            try:
                with open_file(self.folder.parent, f"checkpoint/{path.name}", most) as file:
                    whole = os.fstat(file.fileno()).st_size == entry["size"]
                    whole = whole and digest(file) == entry["sha256"]
            except OSError as error:
                raise unreadable(path, error) from None
            if not whole:
                raise UserError(f"{path}: damaged, its size or content differs from what was written")
        return [entry["name"] for entry in entries]

    def _files_of(self, part: str) -> list[Entry]:
        entries = self._read_manifest()["files"].get(part, [])
        if not entries or not all(entry["name"].startswith(f"{part}-") for entry in entries):
            raise UserError(f"{self.manifest}: lists no valid files for the part {part!r}")
        return entries

    def _read_manifest(self) -> Manifest:
        try:
            content = read_file(self.folder.parent, "checkpoint/manifest.json")
            version = parsed(Format, content)["format"]
            if version != FORMAT:
                raise UserError(f"{self.manifest}: checkpoint format {version}; this version reads {FORMAT}")
            return parsed(Manifest, content)
        except FileNotFoundError:
            raise UserError(f"{self.folder}: no checkpoint here") from None
        except (OSError, ValueError) as error:
            reason = file_problem(error)
            raise UserError(f"{self.manifest}: not a readable checkpoint manifest ({reason})") from None


def read_state(folder: Path, names: list[str]) -> Any:
    """Return the state that a `TorchPart` stored, checked against its schema, without running code from it.

    Raises:
        UserError: the file is not readable, or its state is not that of this part.
    """
    path, part = folder / names[0], names[0].partition("-")[0]
    try:
        return checked(PARTS.get(part, dict[str, Any]), load_tensors(path))
    except Exception as error:  # torch.load may raise anything for foreign bytes
        raise unreadable(path, error) from None


def most_bytes(state: Any) -> int:
    """Return the greatest size of the file of a part whose object has this state before loading."""
    return SMALL + GROWTH * bytes_of(to_tensors(state))


def unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a readable part of a checkpoint ({file_problem(error)})")


def to_tensors(state: Any) -> Any:
    """Return `state` with arrays as tensors, which torch.load reads without running code."""
    if isinstance(state, np.ndarray):
        return torch.from_numpy(state)
    if isinstance(state, dict):
        return {key: to_tensors(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [to_tensors(value) for value in state]
    return state


def digest(file: BufferedIOBase) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()
