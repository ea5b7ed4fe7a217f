"""Load files of torch.save that come from elsewhere, within time and memory in proportion to their size."""

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

NAMES = re.compile(
    r"torch\._utils _rebuild_(tensor_v[23]|parameter)|collections OrderedDict|torch(\.storage)? \w+Storage"
    r"|torch (Size|bool|u?int\d+|b?float\d+|complex\d+)"
)
"""Names in the pickle of a state. Others that torch allows, such as bytearray, make objects of any size."""


def load_tensors(path: Path) -> Any:
    """Return the content of a file, without running code from it.

    Raises:
        ValueError: reading it could take far more memory than its size, or it repeats itself.
        Exception: torch cannot read it.
    """
    size = path.stat().st_size
    refuse_costly(path, size)
    state = torch.load(path, map_location="cpu", weights_only=True)
    bytes_of(state, most=size)
    return state


def refuse_costly(path: Path, size: int) -> None:
    """Raise ValueError unless the archive is uncompressed and names only what makes tensors."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        if not stored or sum(entry.file_size for entry in entries) > size:
            raise ValueError("compressed, which no checkpoint is")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                for code, argument, _ in pickletools.genops(archive.read(entry)):
                    if code.name == "GLOBAL" and not NAMES.fullmatch(str(argument)):
                        raise ValueError(f"it names {argument}")


def bytes_of(state: Any, most: int | None = None) -> int:
    """Return the bytes of the tensors in nested dicts and lists.

    Raises:
        ValueError: there are more than `most` bytes in one of the tensors, or values in all, which happens
            if the same memory or list occurs again and again.
    """
    total = 0
    for count, node in enumerate(nodes(state), 1):
        size = node.numel() * node.element_size() if isinstance(node, Tensor) else 0
        total += size
        if most is not None and max(count, size) > most:
            raise ValueError("its values repeat each other, so they are larger than the file")
    return total


def nodes(state: Any) -> Iterator[Any]:
    """Yield every value in nested dicts and lists."""
    waiting = [iter((state,))]
    while waiting:
        node = next(waiting[-1], waiting)
        if node is waiting:
            waiting.pop()
            continue
        yield node
        if isinstance(node, dict):
            waiting.append(iter(node.values()))
        elif isinstance(node, list | tuple):
            waiting.append(iter(node))
