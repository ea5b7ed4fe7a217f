"""TensorBoard's record files."""

import io
import random

import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from dqn.events import framed


@pytest.mark.parametrize("lengths", [[0], [1], [300], [7, 0, 300, 12, 12, 1], list(range(64))])
def test_records_are_framed_as_tensorboard_does(lengths):
    generator = random.Random(0)
    records = [generator.randbytes(length) for length in lengths]
    file = io.BytesIO()
    writer = RecordWriter(file)
    for record in records:
        writer.write(record)
    assert framed(records) == file.getvalue()
