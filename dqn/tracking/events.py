"""TensorBoard event files that a resumed run goes on with exactly."""

import os
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import CRC_TABLE
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as checksum

from dqn.errors import UserError
from dqn.types import Array

TABLE = np.array(CRC_TABLE, np.uint32)
MANY = 30
"""Records from which on it is faster to go through all of them together."""


class Events:
    """The events of one folder, a file for each process that wrote there.

    Args:
        folder: that of one run in TensorBoard.
        sizes: the files at the last checkpoint (from `sizes`); whatever was written later is cut off.
        step: the last one before that.
        header: written at once.
    """

    def __init__(
        self, folder: Path, sizes: dict[str, int], step: int, header: Sequence[Summary.Value]
    ) -> None:
        self._earlier = dict(sizes)
        for path in folder.glob("events.out.tfevents.*"):
            cut(path, self._earlier.get(path.name, 0))  # a TensorBoard would stay with a file that is gone
        stem = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / stem).open("xb")
        self._records: list[bytes] = []
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        # a TensorBoard that has seen what was cut off drops it
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=time.time(), step=step + 1, session_log=start))
        if header:
            self.add(step, header)
        self.flush()

    def _write(self, event: Event) -> None:
        self._records.append(event.SerializeToString())

    def add(self, step: int, values: Sequence[Summary.Value]) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        event = Event(wall_time=time.time(), step=step)
        for tag, value in values.items():
            event.summary.value.add(tag=tag, simple_value=value)
        self._write(event)

    def flush(self) -> None:
        records, self._records = self._records, []  # so that none is written twice if this fails
        self._file.write(framed(records))
        self._file.flush()

    def sizes(self) -> dict[str, int]:
        """Make durable what was flushed and return the size of every file."""
        os.fsync(self._file.fileno())
        return self._earlier | {Path(self._file.name).name: self._file.tell()}

    def close(self) -> None:
        try:
            if not self.closed:
                self.flush()
        finally:
            self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed


def framed(records: Sequence[bytes]) -> bytes:
    """Return what TensorBoard's RecordWriter writes for these records, many in an eighth of its time."""
    lengths = [struct.pack("<Q", len(record)) for record in records]
    parts = zip(lengths, checksums(lengths), records, checksums(records), strict=True)
    return b"".join(part for frame in parts for part in frame)


def checksums(records: Sequence[bytes]) -> list[bytes]:
    """Return the masked CRC-32C of each record; many go through the table together, byte by byte."""
    if len(records) < MANY:
        return [struct.pack("<I", checksum(record)) for record in records]
    lengths = np.array([len(record) for record in records])
    longest_first = np.argsort(-lengths)
    columns: Array = np.zeros((lengths.max(), len(records)), np.uint8)
    for column, i in enumerate(longest_first.tolist()):
        columns[: lengths[i], column] = np.frombuffer(records[i], np.uint8)
    crc = np.full(len(records), 0xFFFFFFFF, np.uint32)
    counts = (lengths[:, None] > np.arange(lengths.max())).sum(0)  # of records that have such a byte
    for row, count in zip(columns, counts.tolist(), strict=True):
        crc[:count] = TABLE[(crc[:count] ^ row[:count]) & 0xFF] ^ (crc[:count] >> 8)
    crc = ~crc
    masked = np.empty_like(crc)
    masked[longest_first] = (crc >> 15 | crc << 17) + np.uint32(0xA282EAD8)
    return [struct.pack("<I", number) for number in masked.tolist()]


def cut(path: Path, size: int) -> None:
    """Truncate a file to `size` bytes.

    Raises:
        UserError: it has fewer.
    """
    if path.stat().st_size < size:
        raise UserError(f"{path}: damaged, the checkpoint follows {size} bytes of it")
    os.truncate(path, size)
