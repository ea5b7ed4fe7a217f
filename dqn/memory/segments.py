"""The rows of a ring in files, each of which is written once."""

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import takewhile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from dqn.memory.ring import Ring
from dqn.types import Array, Integers

SEALED = 2**22
"""Bytes of rows from which a file is never rewritten; fewer make more files, more make each save slower."""
PIECE = 2**24
"""Bytes read or written at once."""


class Segment(NamedTuple):
    """A file with rows `start` to `stop` of every column, counted from the first row ever written.

    Row `stop` already holds an observation and waits for the next step; the next segment starts with it.
    """

    name: str
    start: Integers  # [K * E]
    stop: Integers  # [K * E]


class Segments:
    """The checkpoint part with the rows of a ring, of which each save writes only the new ones.

    Rows do not change until they are overwritten, so files do not change either. A file is dropped when all
    of its rows have been overwritten. The newest file is replaced by a longer one until it has SEALED bytes,
    so a small memory is one file. If columns fill at different speeds, the slowest keeps files of the others
    that are of no use, so from twice the size of the ring on all rows are rewritten. The ring's
    `state_dict` has everything else: counters and starts.
    """

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self._segments: list[Segment] = []
        # frames shrink faster than a disk writes; floats do not shrink
        self._compresses = ring.obs.dtype.kind in "iub"
        arrays = {name: ring.by_column(name) for name in ring.stored_once}
        layout = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
        self._header = json.dumps({"rows": layout, "gzip": self._compresses}).encode() + b"\n"

    def save(self, folder: Path, stem: str) -> list[str]:
        """Write the new rows; return the names of the files with all rows, oldest first."""
        stop = self.ring.written
        oldest = stop - self.ring.rows + 1
        there = takewhile(lambda segment: (folder / segment.name).exists(), self._segments)
        kept = [segment for segment in there if (segment.stop > oldest).any()]
        rows = [int((segment.stop - segment.start).sum()) for segment in kept]
        if sum(rows) > 2 * self.ring.end.size:
            kept = []
        start = kept[-1].stop if kept else np.zeros_like(stop)
        if kept and rows[-1] * self.ring.bytes_per_row < SEALED:
            start = kept.pop().start
        segment = Segment(f"{stem}.rows", np.maximum(start, oldest), stop)
        with (folder / segment.name).open("wb") as file:
            file.write(self._header)
            file.write(np.stack(segment[1:]).tobytes())
            with self._compressed(file, "wb") as payload:
                for piece in self._pieces(segment):
                    payload.write(piece)
        self._segments = [*kept, segment]
        return [segment.name for segment in self._segments]

    def load(self, folder: Path, names: list[str]) -> None:
        """Read all rows, after the ring's counters have been restored.

        Raises:
            ValueError: the rows of a file are not those of this ring.
        """
        segments = [self._read(folder / name) for name in names]
        if not np.array_equal(segments[-1].stop, self.ring.written):
            raise ValueError(f"{names[-1]}: its last rows are not the last of the memory")
        self.ring.check_rows()
        self._segments = segments

    def most_bytes(self) -> int:
        """Return the greatest size of the files: up to three times the ring, and what each file adds."""
        return 4 * self.ring.end.size * self.ring.bytes_per_row + 4 * SEALED

    def _read(self, path: Path) -> Segment:
        """Read the rows of a file into the ring."""
        with path.open("rb") as file:
            if file.read(len(self._header)) != self._header:
                raise ValueError(f"{path.name}: its rows have other columns, shapes or types")
            columns = self.ring.written.size
            bounds = np.frombuffer(file.read(2 * columns * 8), np.int64).reshape(2, columns)
            segment = Segment(path.name, *bounds)
            length = segment.stop - segment.start
            if segment.start.min() < 0 or length.min() < 0 or length.max() >= self.ring.rows:
                raise ValueError(f"{path.name}: it has more rows than a column, or fewer than none")
            try:
                with self._compressed(file, "rb") as payload:
                    whole = all(payload.readinto(piece) == piece.size for piece in self._pieces(segment))
                    whole = whole and not payload.read(1)
            except (OSError, EOFError, zlib.error) as error:
                raise ValueError(f"{path.name}: its rows cannot be read ({error})") from None
            if not whole:
                raise ValueError(f"{path.name}: it has fewer or more bytes than its rows need")
        return segment

    def _compressed(self, file: IO[bytes], mode: str) -> Any:
        """Return a context manager of the file's rows, which reads or writes bytes."""
        if not self._compresses:
            return nullcontext(file)
        return gzip.GzipFile(filename="", mode=mode, compresslevel=1, fileobj=file, mtime=0)

    def _pieces(self, segment: Segment) -> Iterator[Array]:
        """Yield views of the rows as bytes: by array, then by column, each of at most PIECE bytes."""
        for name in self.ring.stored_once:
            array = self.ring.by_column(name)
            most = max(1, PIECE // max(1, array[0, 0].nbytes))
            for column, start, stop in zip(array, segment.start.tolist(), segment.stop.tolist(), strict=True):
                left = stop + 1 - start
                while left:
                    first = (stop + 1 - left) % self.ring.rows
                    count = min(left, self.ring.rows - first, most)
                    yield column[first : first + count].reshape(-1).view(np.uint8)
                    left -= count
