"""TensorBoard event files that a resumed run goes on with exactly."""

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from dqn.errors import UserError


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
        self._writer = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        # a TensorBoard that has seen what was cut off drops it
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=time.time(), step=step + 1, session_log=start))
        if header:
            self.add(step, header)

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())

    def add(self, step: int, values: Sequence[Summary.Value]) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.add(step, [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])

    def flush(self) -> None:
        self._file.flush()

    def sizes(self) -> dict[str, int]:
        """Make durable what was flushed and return the size of every file."""
        os.fsync(self._file.fileno())
        return self._earlier | {Path(self._file.name).name: self._file.tell()}

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed


def cut(path: Path, size: int) -> None:
    """Truncate a file to `size` bytes.

    Raises:
        UserError: it has fewer.
    """
    if path.stat().st_size < size:
        raise UserError(f"{path}: damaged, the checkpoint follows {size} bytes of it")
    os.truncate(path, size)
