"""Checkpoints: files and a manifest that is replaced in one step, so a crash leaves the last good one."""

import hashlib
import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dqn.errors import UserError
from dqn.files import replace_file, sync_folder

FORMAT = 1
"""Raised whenever what the files hold changes; others are refused."""

PART_NAME = re.compile(r"(policy|learner|memory)-\d+\.pt")


class Checkpoint:
    """The checkpoint of one run folder: parts ("policy", "learner", "memory"), each a file of its own.

    `save` writes new files, makes them durable, replaces `manifest.json`, and then removes the old ones.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkpoint"
        self.manifest = self.folder / "manifest.json"

    def save(self, iteration: int, parts: dict[str, Any]) -> None:
        """Replace the checkpoint by `parts`, nested dicts and lists of tensors, arrays and plain values.

        Raises:
            UserError: it could not be written; the previous one stays.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            files = {part: self._write(f"{part}-{iteration}.pt", state) for part, state in parts.items()}
            sync_folder(self.folder)
            replace_file(
                self.manifest, json.dumps({"format": FORMAT, "iteration": iteration, "files": files})
            )
        except OSError as error:
            raise UserError(f"{self.folder}: the checkpoint could not be written ({error})") from None
        self._remove_all_but({file["name"] for file in files.values()})

    def _write(self, name: str, state: Any) -> dict[str, Any]:
        path = self.folder / name
        try:
            with path.open("wb") as file:
                torch.save(to_tensors(state), file)
                file.flush()
                os.fsync(file.fileno())
        except RuntimeError as error:  # what torch's zip writer makes of a failed write
            raise OSError(str(error).splitlines()[0]) from None
        return {"name": name, "size": path.stat().st_size, "sha256": digest(path)}

    def _remove_all_but(self, names: set[str]) -> None:
        for path in self.folder.iterdir():
            if path.name not in names and path != self.manifest:
                path.unlink(missing_ok=True)

    def exists(self) -> bool:
        return self.manifest.exists()

    def iteration(self) -> int:
        """Return the number of iterations that the checkpoint follows."""
        return int(self._read_manifest()["iteration"])

    def load(self, part: str) -> Any:
        """Return one part as it was saved, arrays as tensors.

        Raises:
            UserError: there is no checkpoint, or it is damaged, of another format, or not a checkpoint.
        """
        entry = self._read_manifest()["files"].get(part)
        if not isinstance(entry, dict) or not PART_NAME.fullmatch(str(entry.get("name"))):
            raise UserError(f"{self.manifest}: names no proper file for the part {part!r}")
        path = self.folder / entry["name"]
        try:
            if path.stat().st_size != entry.get("size") or digest(path) != entry.get("sha256"):
                raise UserError(f"{path}: damaged, its size or its content is not what was written")
            return torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: not a readable part of a checkpoint ({reason})") from None

    def _read_manifest(self) -> dict[str, Any]:
        try:
            manifest: dict[str, Any] = json.loads(self.manifest.read_text())
            if not isinstance(manifest["files"], dict) or not isinstance(manifest["iteration"], int):
                raise TypeError
        except FileNotFoundError:
            raise UserError(f"{self.folder}: no checkpoint here") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{self.manifest}: not a readable checkpoint manifest") from None
        if manifest.get("format") != FORMAT:
            raise UserError(
                f"{self.manifest}: checkpoint format {manifest.get('format')}; this version reads {FORMAT}"
            )
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
