"""The rows of a ring in files that are written once."""

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import takewhile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from dqn.memory.ring import STORED_ONCE, Ring
from dqn.types import Array, Integers

SEALED = 2**22
"""Bytes of rows from which on a file is not rewritten: fewer make more files, more make each save slower."""
PIECE = 2**24
"""Bytes that are read or written at once."""


class Segment(NamedTuple):
    """A file with rows `start` to `stop` of every column, counted from the first that was ever written.

    Row `stop` is the one that the next step fills; it already holds an observation. The next segment starts
    with it.
    """

    name: str
    start: Integers  # [K * E]
    stop: Integers  # [K * E]


class Segments:
    """A part of a checkpoint: the rows of a ring, of which each save writes those that are new.

    Rows do not change until they are overwritten, so neither do files; a file of which all rows have been
    overwritten is no longer named. The newest file is replaced by a longer one until it holds SEALED bytes,
    so small memories are one file that is written whole.

    Which rows are starts, how many there are and all else that changes is in the ring's `state_dict`.
    """

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self._segments: list[Segment] = []

    def save(self, folder: Path, stem: str) -> list[str]:
        """Write the new rows and return the names of the files that hold all rows, the oldest first."""
        stop = self.ring.written
        oldest = stop - self.ring.rows + 1
        there = takewhile(lambda segment: (folder / segment.name).exists(), self._segments)
        kept = [segment for segment in there if (segment.stop > oldest).any()]
        start = kept[-1].stop if kept else np.zeros_like(stop)
        if kept and (kept[-1].stop - kept[-1].start).sum() * self.ring.bytes_per_row < SEALED:
            start = kept.pop().start
        segment = Segment(f"{stem}.rows", np.maximum(start, oldest), stop)
        with (folder / segment.name).open("wb") as file:
            file.write(self._header())
            file.write(np.stack(segment[1:]).tobytes())
            with self._compressed(file, "wb") as payload:
                for piece in self._pieces(segment):
                    payload.write(piece)
        self._segments = [*kept, segment]
        return [segment.name for segment in self._segments]

    def load(self, folder: Path, names: list[str]) -> None:
        """Read all rows; the ring's counters must be there.

        Raises:
            ValueError: a file holds other rows than those of this ring.
        """
        segments = [self._read(folder / name) for name in names]
        if not np.array_equal(segments[-1].stop, self.ring.written):
            raise ValueError(f"{names[-1]}: it ends at other rows than the memory")
        self._segments = segments

    def _read(self, path: Path) -> Segment:
        """Read the rows of a file into the ring."""
        with path.open("rb") as file:
            header = self._header()
            if file.read(len(header)) != header:
                raise ValueError(f"{path.name}: its rows have other columns, shapes or types")
            columns = self.ring.written.size
            bounds = np.frombuffer(file.read(2 * columns * 8), np.int64).reshape(2, columns)
            segment = Segment(path.name, *bounds)
            length = segment.stop - segment.start
            if segment.start.min() < 0 or length.min() < 0 or length.max() >= self.ring.rows:
                raise ValueError(f"{path.name}: its rows are more than a column has, or less than none")
            try:
                with self._compressed(file, "rb") as payload:
                    whole = all(payload.readinto(piece) == piece.size for piece in self._pieces(segment))
                    whole = whole and not payload.read(1)
            except (OSError, EOFError, zlib.error) as error:
                raise ValueError(f"{path.name}: its rows cannot be read ({error})") from None
            if not whole:
                raise ValueError(f"{path.name}: it holds fewer or more bytes than its rows have")
        return segment

    def _header(self) -> bytes:
        """Return the first line of every file: what the rows are, and how they are stored."""
        arrays = {name: self.ring.by_column(name) for name in STORED_ONCE}
        layout = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
        return json.dumps({"rows": layout, "gzip": self._shrinks()}).encode() + b"\n"

    def _shrinks(self) -> bool:
        """Return whether to compress: frames shrink faster than a disk writes, floats do not shrink."""
        return self.ring.obs.dtype.kind in "iub"

    def _compressed(self, file: IO[bytes], mode: str) -> Any:
        """Return what reads or writes the rows in a file."""
        if not self._shrinks():
            return nullcontext(file)
        return gzip.GzipFile(filename="", mode=mode, compresslevel=1, fileobj=file, mtime=0)

    def _pieces(self, segment: Segment) -> Iterator[Array]:
        """Yield views of the rows, bytes, array by array and column by column, at most PIECE at a time."""
        for name in STORED_ONCE:
            array = self.ring.by_column(name)
            most = max(1, PIECE // max(1, array[0, 0].nbytes))
            for column, start, stop in zip(array, segment.start.tolist(), segment.stop.tolist(), strict=True):
                left = stop + 1 - start
                while left:
                    first = (stop + 1 - left) % self.ring.rows
                    count = min(left, self.ring.rows - first, most)
                    yield column[first : first + count].reshape(-1).view(np.uint8)
                    left -= count
