"""TensorBoard event files, which a resumed run continues exactly, and their contents besides scalars."""

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from dqn.storage.flatten import entries
from dqn.storage.overrides import typed
from dqn.tracking.files import cut
from dqn.types import Array

SPREADS = {"eval/return": "seeds/eval_return", "train/return": "seeds/train_return"}
"""First part of the tag of a statistic over seeds, by the tag of each seed's values."""
STATISTICS = ("iqm", "min", "max")
CARDS = {"train/return": "return/train", "eval/return": "return/eval"} | {
    f"{SPREADS[tag]}_{statistic}": f"return/all_{kind}_{statistic}"
    for tag, kind in (("train/return", "train"), ("eval/return", "eval"))
    for statistic in STATISTICS
}
"""Tags that TensorBoard displays under another name, by the name in metrics.jsonl.

Its cards and the columns of HPARAMS are in alphabetical order, and only the first ones are visible.
"""


class Events:
    """The events of one folder, in one file for each process that wrote there.

    Args:
        folder: the folder, which TensorBoard shows as a run.
        sizes: the sizes of the files at the last checkpoint; everything written later is cut off.
        step: the last step before that checkpoint.
        header: summaries to write at once.
    """

    def __init__(
        self, folder: Path, sizes: dict[str, int], step: int, header: Sequence[Summary.Value]
    ) -> None:
        self._earlier = dict(sizes)
        for path in event_files(folder):
            # an unlisted file is emptied, not removed, because TensorBoard would keep reading a removed one
            cut(path, self._earlier.get(path.name, 0))
        stem = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / stem).open("xb")
        self._records = RecordWriter(self._file)
        self._write(Event(file_version="brain.Event:2"))
        # makes an active TensorBoard drop the events that were cut off
        self._write(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))
        if header:
            self.add(step, header)
        self.flush()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())

    def add(self, step: int, values: Sequence[Summary.Value]) -> None:
        self._write(Event(step=step, summary=Summary(value=values)))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        event = Event(step=step)
        for tag, value in values.items():
            event.summary.value.add(tag=CARDS.get(tag, tag), simple_value=value)
        self._write(event)

    def flush(self) -> None:
        self._file.flush()

    def sizes(self) -> dict[str, int]:
        """Make the flushed events durable and return the size of every file."""
        os.fsync(self._file.fileno())
        return self._earlier | {Path(self._file.name).name: self._file.tell()}

    def close(self) -> None:
        self._file.close()


def event_files(folder: Path) -> Iterator[Path]:
    return folder.glob("events.out.tfevents.*")


def hparams(config: dict[str, Any], overrides: Sequence[str], name: str) -> Summary.Value:
    """Return the values of a run for a line of the HPARAMS tab: options that were chosen, and plain values.

    Classes are left out, because the options say what they are.
    """
    plain = (bool, int, float, str)
    values: dict[str, bool | int | float | str] = {
        key: value for key, value in typed(overrides, {}).items() if "." not in key
    }
    for key, value in leaves_of(config):
        values[key] = value if isinstance(value, plain) else json.dumps(value)
    return hparams_pb(values, trial_id=name).value[0]


def leaves_of(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of a configuration whose values are plain, or lists of plain values."""
    for path, key, value in entries(config, lists=False):
        if key in ("_target_", "_partial_") or isinstance(value, dict) or value == []:
            continue
        if not (isinstance(value, list) and isinstance(value[0], dict)):
            yield path, value


def config_text(config: dict[str, Any]) -> Summary.Value:
    """Return the configuration for the Text tab."""
    return text_pb("config", f"```yaml\n{yaml.safe_dump(config, sort_keys=False)}```").value[0]


def layout(num_seeds: int) -> Summary.Value:
    """Return the charts of the Custom Scalars tab: each seed's returns and, for several, their statistics."""
    charts = [
        layout_pb2.Chart(title=f"{tag}, every seed", multiline={"tag": [f"^{CARDS[tag]}$"]})
        for tag in SPREADS
    ]
    for tag, name in SPREADS.items() if num_seeds > 1 else ():
        value, lower, upper = (CARDS[f"{name}_{statistic}"] for statistic in STATISTICS)
        series = {"series": [{"value": value, "lower": lower, "upper": upper}]}
        charts.append(layout_pb2.Chart(title=f"{tag}, interquartile mean and range", margin=series))
    category = layout_pb2.Category(title="returns", chart=charts)
    content = make_tensor_proto(layout_pb2.Layout(category=[category]).SerializeToString(), dtype=np.object_)
    metadata = custom_scalar.create_summary_metadata()
    return Summary.Value(tag=custom_scalar.CONFIG_SUMMARY_TAG, tensor=content, metadata=metadata)


def histogram(tag: str, values: Array) -> Summary.Value:
    """Return a histogram of the finite values."""
    return histogram_pb(tag, values[np.isfinite(values)]).value[0]
