"""What TensorBoard is told beside numbers: hyper-parameters, the configuration, charts and histograms."""

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import yaml
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.histogram import metadata as histogram_plugin
from tensorboard.plugins.hparams import metadata as hparams_plugin
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo
from tensorboard.plugins.text import metadata as text_plugin
from tensorboard.util.tensor_util import make_tensor_proto

from dqn.types import Array

BINS = 30
SPREADS = {"eval/return": "seeds/eval_return", "train/return": "seeds/train_return"}
"""What becomes of a tag over the seeds of a run, with the name of a statistic behind it."""
STATISTICS = ("iqm", "min", "max")


def hparams(config: dict[str, Any], group: str) -> Summary.Value:
    """Return the configuration for the HPARAMS tab; sessions of one `group` become one line, their mean."""
    start = SessionStartInfo(group_name=group, start_time_secs=time.time())
    for key, value in hyper_parameters(config):
        if isinstance(value, bool):
            start.hparams[key].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[key].number_value = value
        else:
            start.hparams[key].string_value = value if isinstance(value, str) else json.dumps(value)
    metadata = hparams_plugin.create_summary_metadata(HParamsPluginData(session_start_info=start))
    return value_of(hparams_plugin.SESSION_START_INFO_TAG, hparams_plugin.NULL_TENSOR, metadata)


def hyper_parameters(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and their values; an object's own key has the name of its class."""
    for key, value in node.items():
        if key == "_target_":
            yield path, str(value).rpartition(".")[2]
        elif isinstance(value, dict):
            yield from hyper_parameters(value, f"{path}.{key}" if path else key)
        elif key != "_partial_":
            yield f"{path}.{key}" if path else key, value


def config_text(config: dict[str, Any]) -> Summary.Value:
    """Return the configuration for the Text tab."""
    text = f"```yaml\n{yaml.safe_dump(config, sort_keys=False)}```"
    return value_of("config", strings(text.encode()), text_plugin.create_summary_metadata("", ""))


def layout(num_seeds: int) -> Summary.Value:
    """Return the charts of the Custom Scalars tab: all seeds in one, and the spread of several."""
    charts = [
        layout_pb2.Chart(title=f"{tag}, every seed", multiline={"tag": [f"^{tag}$"]}) for tag in SPREADS
    ]
    if num_seeds > 1:
        for tag, name in SPREADS.items():
            value, lower, upper = (f"{name}_{statistic}" for statistic in STATISTICS)
            series = {"series": [{"value": value, "lower": lower, "upper": upper}]}
            title = f"{tag}, interquartile mean and range"
            charts.append(layout_pb2.Chart(title=title, margin=series))
    category = layout_pb2.Category(title="returns", chart=charts)
    content = layout_pb2.Layout(category=[category]).SerializeToString()
    metadata = custom_scalar.create_summary_metadata()
    return value_of(custom_scalar.CONFIG_SUMMARY_TAG, strings(content), metadata)


def histogram(tag: str, values: Array) -> Summary.Value:
    """Return a histogram of those values that are finite."""
    counts, edges = np.histogram(values[np.isfinite(values)].astype(np.float64), BINS)
    buckets = np.stack((edges[:-1], edges[1:], counts), axis=1)
    metadata = histogram_plugin.create_summary_metadata("", "")
    return value_of(tag, make_tensor_proto(buckets), metadata)


def strings(content: bytes) -> TensorProto:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    return TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=shape)


def value_of(tag: str, tensor: TensorProto, metadata: SummaryMetadata) -> Summary.Value:
    return Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
