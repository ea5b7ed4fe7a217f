"""TensorBoard's record files."""

import io
import random

import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from dqn.tracking.events import MANY, Events, framed


@pytest.mark.parametrize("lengths", [[], [300], [7, 0, 300, 12], [0] * MANY, list(range(64)), [300] * 40])
def test_records_are_framed_as_tensorboard_does(lengths):
    generator = random.Random(0)
    records = [generator.randbytes(length) for length in lengths]
    file = io.BytesIO()
    writer = RecordWriter(file)
    for record in records:
        writer.write(record)
    assert framed(records) == file.getvalue()


def test_what_could_not_be_written_is_not_written_twice(tmp_path, monkeypatch):
    events = Events(tmp_path, {}, 0, ())
    (path,) = tmp_path.iterdir()
    events.scalars(1, {"a/b": 1.0})
    before = path.read_bytes()
    file = events._file

    class Full:
        name, closed = file.name, False

        def write(self, data: bytes) -> None:
            raise OSError("No space left on device")

    events._file = Full()
    with pytest.raises(OSError, match="No space"):
        events.flush()
    events._file = file
    events.close()
    events.close()
    assert path.read_bytes() == before
