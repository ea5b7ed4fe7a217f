"""What TensorBoard shows beside the numbers of the seeds, read back by its own code."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers import TINY_EPISODES, TINY_STEPS, config_of, make_runner
from records import check_records, contents, read_events, read_metrics, same, scalars_of
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, list_session_groups
from tensorboard.plugins.hparams import metadata as hparams_plugin
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.util.tensor_util import make_ndarray

from dqn.storage.folder import RunFolder
from dqn.tracking import tensorboard as board

EVALUATED = ["runner.eval_period=1", "runner.eval_episodes=2", "runner.total_steps=600"]


def accumulator(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return accumulator


def text_of(folder: Path, tag: str) -> bytes:
    """Return the latest content of a text."""
    return bytes(make_ndarray(accumulator(folder).Tensors(tag)[-1].tensor_proto).item())


def hparams_of(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the group and the hyper-parameters that the HPARAMS tab reads."""
    metadata = accumulator(folder).SummaryMetadata(hparams_plugin.SESSION_START_INFO_TAG)
    info = hparams_plugin.parse_session_start_info_plugin_data(metadata.plugin_data.content)
    return info.group_name, {key: getattr(x, x.WhichOneof("kind")) for key, x in info.hparams.items()}


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    """Return the folder of a run of three seeds."""
    folder = tmp_path_factory.mktemp("sweep") / "several"
    RunFolder(folder).config_file.parent.mkdir(parents=True)
    overrides = ["agent=double", "agent.lr=5e-4", "hydra.run.dir=x"]
    RunFolder(folder).config_file.with_name("overrides.yaml").write_text(yaml.safe_dump(overrides))
    make_runner(folder, [*TINY_STEPS, *EVALUATED, "num_seeds=3", "seed=2", "runner.histogram_period=2"]).run()
    return folder


def test_hyper_parameters_lie_in_the_run_itself(several):
    """Those of several seeds lie beside the statistics over seeds, which HPARAMS then displays."""
    group, values = hparams_of(several)
    assert group == f"{several.parent.name}/several"
    assert values["agent"] == "double", "the option, as it was given"
    assert values["agent.lr"] == 5e-4
    assert values["agent.max_grad_norm"] == "null"
    assert values["env.time_limit_is_terminal"] is True
    assert values["network.torso.hidden_sizes"] == "[16]"
    assert not any(
        text in f"{key}={x}" for key, x in values.items() for text in ("_target_", "dqn.", "hydra")
    )
    runs = {path.parent for path in several.rglob("events*")}
    assert runs == {several, *several.glob("seed=*")}


def line_of(folder: Path) -> tuple[str, float, dict[str, float]]:
    """Return the only line of the HPARAMS tab: its name, agent.lr and the five metrics that it displays."""
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=list(api_pb2.Status.values()),
        aggregation_type=api_pb2.AGGREGATION_AVG,
        slice_size=100,
    )
    context = Context(TBContext(data_provider=provider))
    (group,) = list_session_groups.Handler(RequestContext(), context, "", request).run().session_groups
    values = {f"{one.name.group}{one.name.tag}": one.value for one in group.metric_values[:5]}
    return group.name, group.hparams["agent.lr"].number_value, values


@pytest.mark.parametrize(("seeds", "period"), [(1, 2), (3, 1), (3, 0)])
def test_hparams_display_the_result(tmp_path, seeds, period):
    """The interquartile mean of the final evaluation, also where it is not a periodic one."""
    folder = tmp_path / "run"
    overrides = [f"runner.eval_period={period}", "runner.eval_episodes=2", f"num_seeds={seeds}"]
    result = make_runner(folder, [*TINY_STEPS, *overrides, "runner.total_steps=600"]).run()
    name, lr, values = line_of(tmp_path)
    assert (name, lr) == (f"{tmp_path.name}/run", 5e-4)
    assert values["return/eval" if seeds == 1 else "return/all_eval_iqm"] == pytest.approx(result)
    assert ("return/train" if seeds == 1 else "return/all_train_iqm") in values
    check_records(folder)
    final = {(600, "eval/return")} if period != 1 else set()
    written = scalars_of(read_events(folder / "seed=0"))
    of_file = {(line["step"], t) for line in read_metrics(folder)["seed=0"] for t in line if "/" in t}
    assert {one for one in written if not one[1].startswith("time/")} - of_file == final


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_configuration_as_text(tmp_path, several, seeds):
    words = [*TINY_STEPS, *EVALUATED, "num_seeds=3", "seed=2", "runner.histogram_period=2"]
    folder = several
    if seeds == 1:
        words, folder = TINY_STEPS, tmp_path / "seed=0"
        make_runner(tmp_path, words).run()
        assert not list(tmp_path.glob("events*")), "one seed has no others beside it"
    text = text_of(folder, "config").decode()
    assert yaml.safe_load(text.removeprefix("```yaml").removesuffix("```")) == config_of(words)


def test_a_write_that_failed_is_continued(tmp_path):
    """No record is lost or written twice where there was no room for it once."""
    events = board.Events(tmp_path, {}, 0, ())
    (path,) = tmp_path.iterdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
    try:
        events.scalars(1, {"a/b": 1.0})
        with pytest.raises(OSError, match="File too large"):
            events.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    events.scalars(2, {"a/b": 2.0})
    events.close()
    assert scalars_of(read_events(tmp_path)) == {(1, "a/b"): [1.0], (2, "a/b"): [2.0]}


def test_the_layout(several):
    layout = layout_pb2.Layout.FromString(text_of(several, "custom_scalars__config__"))
    (category,) = layout.category
    assert [list(chart.multiline.tag) for chart in category.chart][:2] == [
        ["^return/eval$"],
        ["^return/train$"],
    ]
    tags = accumulator(several).Tags()["scalars"]
    margins = [chart.margin.series[0] for chart in category.chart[2:]]
    assert sorted(tags) == sorted(x for one in margins for x in (one.value, one.lower, one.upper))
    assert len(layout_pb2.Layout.FromString(board.layout(1).tensor.string_val[0]).category[0].chart) == 2


@pytest.mark.parametrize("clock", [TINY_STEPS, TINY_EPISODES], ids=["steps", "episodes"])
def test_the_spread_over_seeds(tmp_path, clock):
    words = [
        *clock,
        "runner.eval_period=2",
        "runner.eval_episodes=2",
        "num_seeds=3",
        "runner.learning_starts=5",
    ]
    runner = make_runner(tmp_path, words)
    steps, returns = [], []
    runner.on_progress = lambda progress: (
        steps.append(int(runner.counters.steps.mean())),
        returns.append(runner.counters.recent_returns()),
    )
    runner.run()
    spread = scalars_of(read_events(tmp_path))
    for step, values in zip(steps, returns, strict=True):
        three = [spread[step, f"seeds/train_return_{name}"] for name in ("iqm", "min", "max")]
        assert three == [[np.float32(x)] for x in (np.mean(values), min(values), max(values))], (
            "3 // 4 are cut"
        )
    evaluated = [lines[-1]["eval/return"] for lines in read_metrics(tmp_path).values()]
    assert spread[steps[-1], "seeds/eval_return_max"] == [np.float32(max(evaluated))]
    assert (steps[0], "seeds/eval_return_max") not in spread
    assert len(spread) == 3 * 2 + 3


def test_a_seed_without_an_episode_or_with_an_infinite_return_tells_nothing(several):
    from dqn.tracking.logger import spread_scalars

    assert spread_scalars({"train/return": [], "eval/return": [1.0, np.inf]}) == {}


def test_histograms_show_action_values_and_leave_training_alone(several, tmp_path):
    words = [*TINY_STEPS, *EVALUATED, "num_seeds=3", "seed=2"]
    ends = []
    for period in (0, 1):
        folder = tmp_path / str(period)
        runner = make_runner(folder, [*words, f"runner.histogram_period={period}"])
        runner.run()
        check_records(folder)
        ends.append((contents(runner), read_metrics(folder), scalars_of(read_events(folder))))
        shown = [accumulator(folder / f"seed={seed}").Tags()["tensors"] for seed in (2, 3, 4)]
        assert all(("train/q_values" in tags) == bool(period) for tags in shown)
    same(*ends)
    (event,) = accumulator(several / "seed=3").Tensors("train/q_values")
    assert event.step == 400, "every second iteration of three"
    buckets = make_ndarray(event.tensor_proto)
    assert buckets.shape == (30, 3)
    assert buckets[:, 2].sum() == 256 * 2


def test_a_histogram_of_what_is_not_finite_and_of_one_value():
    for values in (np.array([np.nan, np.inf, 1.0]), np.array([np.nan]), np.ones(5)):
        buckets = make_ndarray(board.histogram("x", values).tensor)
        assert buckets[:, 2].sum() == np.isfinite(values).sum()


def test_observations_are_those_of_each_seed(tmp_path):
    runner = make_runner(tmp_path, [*TINY_STEPS, "num_seeds=2", "env.num_envs=2"])
    runner.run()
    seen = runner.memory.observations(7)
    assert seen.shape == (2, 7, 4)
    for k in range(2):
        column = runner.memory.ring.by_column("obs")[2 * k, : runner.memory.ring.filled[2 * k]]
        np.testing.assert_array_equal(seen[k][[0, -1]], column[[0, -1]])
        assert all((column == one).all(-1).any() for one in seen[k])
