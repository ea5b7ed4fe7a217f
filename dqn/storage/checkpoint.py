"""Checkpoints: files and a manifest that is replaced in one step, so a crash leaves the last good one."""

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dqn.errors import UserError, first_line
from dqn.storage.durable_files import replace_file, sync_folder

FORMAT = 4
"""Raised whenever what the files hold changes; others are refused."""


class Checkpoint:
    """The checkpoint of one run folder: parts (policy, learner, memory, best), each a file of its own.

    `save` writes new files, makes them durable, replaces `manifest.json`, and then removes the old ones.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkpoint"
        self.manifest = self.folder / "manifest.json"

    def save(self, iteration: int, parts: dict[str, Any]) -> None:
        """Replace the checkpoint by `parts`, nested dicts and lists of tensors, arrays and plain values.

        A part that is not among them stays as it is.

        Raises:
            UserError: it could not be written; the previous one stays.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            files = self._files() | {
                part: self._write(f"{part}-{iteration}.pt", state) for part, state in parts.items()
            }
            sync_folder(self.folder)
            replace_file(
                self.manifest, json.dumps({"format": FORMAT, "iteration": iteration, "files": files})
            )
            self._remove_old()
        except OSError as error:
            with suppress(OSError, UserError):  # makes room for the status, which tells of the failure
                self._remove_old()
            raise UserError(f"{self.folder}: the checkpoint could not be written ({error})") from None

    def _write(self, name: str, state: Any) -> dict[str, Any]:
        path = self.folder / name
        try:
            with path.open("wb") as file:
                torch.save(to_tensors(state), file)
                file.flush()
                os.fsync(file.fileno())
        except RuntimeError as error:
            # torch's zip writer fails once more after a failed or interrupted write; the first reason counts
            raise error.__context__ or OSError(first_line(error)) from None
        return {"name": name, "size": path.stat().st_size, "sha256": digest(path)}

    def _remove_old(self) -> None:
        """Remove every file that the manifest does not name."""
        names = {self.manifest.name, *(file["name"] for file in self._files().values())}
        for path in self.folder.iterdir():
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _files(self) -> dict[str, Any]:
        files: dict[str, Any] = self._read_manifest()["files"] if self.exists() else {}
        return files

    def exists(self) -> bool:
        return self.manifest.exists()

    def has(self, part: str) -> bool:
        return part in self._files()

    def iteration(self) -> int:
        """Return the number of iterations that the checkpoint follows."""
        return int(self._read_manifest()["iteration"])

    def load(self, part: str) -> Any:
        """Return one part as it was saved, arrays as tensors.

        Raises:
            UserError: there is no checkpoint, or it is damaged, of another format, or not a checkpoint.
        """
        path = self._whole(part)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load may raise anything where the bytes are not its own
            raise UserError(f"{path}: not a readable part of a checkpoint ({first_line(error)})") from None

    def verify(self) -> None:
        """Raise UserError unless every part is there as it was written."""
        for part in self._files():
            self._whole(part)

    def _whole(self, part: str) -> Path:
        """Return the file of a part, which is as it was written."""
        entry = self._read_manifest()["files"].get(part)
        if not isinstance(entry, dict) or not re.fullmatch(rf"{part}-\d+\.pt", str(entry.get("name"))):
            raise UserError(f"{self.manifest}: names no proper file for the part {part!r}")
        path: Path = self.folder / entry["name"]
        try:
            whole = path.stat().st_size == entry.get("size") and digest(path) == entry.get("sha256")
        except OSError as error:
            raise UserError(f"{path}: not a readable part of a checkpoint ({first_line(error)})") from None
        if not whole:
            raise UserError(f"{path}: damaged, its size or its content is not what was written")
        return path

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


def to_tensors(state: Any) -> Any:
    """Return `state` with its arrays as tensors, which torch.load reads without running code."""
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
