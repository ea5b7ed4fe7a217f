"""A run that needs more than the machine has is refused before its folder is made."""

import itertools
import json
import resource
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import config_of

from dqn import process, system
from dqn.config import resources
from dqn.config.resources import (
    array_bytes,
    disk_bytes,
    memory_bytes,
    network_size,
    open_files,
    optimizer_bytes,
    row_bytes,
)
from dqn.config.validate import check
from dqn.config.wrappers import env_factory
from dqn.storage.flatten import replaced, settings
from dqn.types import ObsSpec

STEPS = ["runner=steps", "runner.total_steps=1000000000000", "runner.iteration_length=1000000000000"]

TOO_LARGE = [
    # overrides, and the keys to change
    (["num_seeds=100000000"], ["num_seeds"]),
    (["memory.capacity=1000000000000"], ["memory.capacity"]),
    (["memory=prioritized", "memory.capacity=300000000"], ["memory.capacity"]),
    (["num_seeds=8", "memory.capacity=100000000"], ["memory.capacity"]),
    ([*STEPS, "env.num_envs=1000000000", "memory.capacity=10000000000"], ["env.num_envs", "memory.capacity"]),
    ([*STEPS, "env.num_envs=10000", "env.vectorization=async"], ["env.num_envs"]),
    (["runner.eval_episodes=1000000000000"], ["runner.eval_episodes"]),
    (
        ["runner.batch_size=1000000000", "memory.capacity=1000000000"],
        ["memory.capacity", "runner.batch_size"],
    ),
    (["network.torso.hidden_sizes=[1000000,1000000]"], ["network.torso.hidden_sizes"]),
    (["network.torso.hidden_sizes=[1000000000000,64]"], ["network.torso.hidden_sizes"]),
    (
        [f"network.torso.hidden_sizes=[{10**30}]", f"memory.capacity={10**30}"],
        ["memory.capacity", "network.torso.hidden_sizes"],
    ),
    (["agent=dueling", "network.streams.hidden_sizes=[100000,100000]"], ["network.streams.hidden_sizes"]),
    (["agent=c51", "network.head.num_atoms=1000000000"], ["network.head.num_atoms"]),
    (["agent=r2d2", "memory.capacity=20000000", "memory.reader.length=10000000"], ["memory.reader.length"]),
    (["agent=r2d2", "memory.capacity=20000000", "memory.reader.burn_in=10000000"], ["memory.reader.burn_in"]),
    (["agent=r2d2", "memory.capacity=8000000", "network.core.units=6000"], ["network.core.units"]),
    (
        ["env=catch", "network/torso=mlp", "env.frame_stack=100000", "memory.capacity=200000"],
        ["env.frame_stack"],
    ),
]


@pytest.fixture
def _small_machine(monkeypatch):
    monkeypatch.setattr(resources, "machine_memory", lambda: 8 * 10**9)
    monkeypatch.setattr(resources, "most_open_files", lambda: 10**12)


@pytest.mark.usefixtures("_small_machine")
@pytest.mark.parametrize(
    ("overrides", "keys"), TOO_LARGE, ids=[" ".join(one[-2:])[:60] for one, _ in TOO_LARGE]
)
def test_the_message_names_the_key_and_the_largest_value_that_fits(overrides, keys):
    config = config_of(overrides)
    problems = {one.key: one.should for one in check(config).problems if "the run needs" in one.should}
    assert sorted(problems) == keys
    spec = env_factory(config["env"]).spec
    fits = {
        key: int(should.split(": ")[0].removeprefix("should be at most ")) for key, should in problems.items()
    }
    for key, limit in fits.items():
        for one in keys:
            config = limited(config, one, 1 if one != key else 10**40)
        for extra, enough in ((0, True), (1, False)):
            tried = limited(config, key, limit + extra)
            assert (memory_bytes(tried, spec, learns=True) <= 8 * 10**9) == enough, (key, limit)
        config = config_of(overrides)


def limited(config, key, limit):
    return replaced(config, key, resources.limited(dict(settings(config))[key], limit))


def test_parts_are_measured_exactly():
    config = config_of(["memory=prioritized"])
    spec = env_factory(config["env"]).spec
    memory = config["memory"]
    assert row_bytes(json.dumps(memory), spec, 0) == pytest.approx(4 * 4 + 1 + 4 + 1 + 1 + 12, abs=0.5)
    assert row_bytes(json.dumps(config_of([])["memory"]), spec, 0) == pytest.approx(
        4 * 4 + 1 + 4 + 1 + 1, abs=0.5
    )
    assert optimizer_bytes(json.dumps(config["agent"]["optimizer"])) == 8
    for sizes in ([16], [3000, 5]):  # the second one is counted without its numbers
        network = config_of([f"network.torso.hidden_sizes={sizes}"])["network"]
        layers = itertools.pairwise([4, *sizes, 2])
        count = sum((fan_in + 1) * fan_out for fan_in, fan_out in layers)
        assert network_size(json.dumps(network), spec).parameters == count
    states = spec._replace(obs=ObsSpec((), np.dtype(np.uint64), 10**12, 1.0))
    assert network_size(json.dumps(network), states).parameters == (10**12 + 1) * 3000 + 3001 * 5 + 6 * 2


def test_windows_and_their_carries():
    """R2D2's memory has a carry [2 * 64] for each 40 rows, and reads 40 + 80 + 1 observations of a window."""
    config = config_of(["agent=r2d2", "env.frame_stack=2"])
    spec, memory = env_factory(config["env"]).spec, json.dumps(config["memory"])
    zeros = replaced(config, "memory.reader.stored_state", False)
    carries = row_bytes(memory, spec, 128) - row_bytes(json.dumps(zeros["memory"]), spec, 128)
    assert carries == pytest.approx(128 * 4 / 40, rel=0.01)

    def need(size: int) -> float:
        return memory_bytes(replaced(config, "runner.batch_size", size), spec, learns=True)

    assert need(33) - need(32) == 121 * 2 * (16 + 16)
    full, half = (
        disk_bytes(replaced(config, "memory.capacity", rows), spec, shrinks=1) for rows in (2 * 10**6, 10**6)
    )
    assert full - half == pytest.approx(10**6 * 127 * 4 / 40, rel=0.01)  # other rows are not written yet


def test_batches_and_environments_have_stacks():
    """A sample's frames are counted, its stacks as the network reads them, and the frames of actors."""
    overrides = ["env=catch", "network/torso=mlp", "env.frame_stack=4"]
    spec = env_factory(config_of(overrides)["env"]).spec

    def need(*more: str) -> float:
        return memory_bytes(config_of([*overrides, *more]), spec, learns=True)

    batches = need("runner.batch_size=33") - need("runner.batch_size=32")
    assert batches == 5 * 100 + 2 * 4 * 400
    environments = need("env.num_envs=101") - need("env.num_envs=100")
    assert environments == resources.ENVIRONMENT["sync"] + 4 * 100


LONG = ["runner=steps", "runner.total_steps=100000000", "runner.iteration_length=100000"]
DISK = [
    # overrides, the largest capacity that fits on a disk of 2 MB, and what is needed
    (["network.torso.hidden_sizes=[16]", "memory.capacity=200000"], 124_886, "3.2 MB"),  # 16 bytes each
    (
        ["env=catch", "network/torso=mlp", "memory.capacity=10000000"],
        1_826_896,
        "10.2 MB",
    ),  # 100 bytes, of which 1 may remain
]


def let_disk_have(monkeypatch, megabytes: int) -> None:
    usage = SimpleNamespace(total=10**9 if megabytes else 0, free=megabytes * 10**6)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda path: usage)


@pytest.mark.parametrize(("overrides", "fits", "needed"), DISK, ids=["floats", "frames"])
def test_a_checkpoint_that_the_disk_is_too_small_for(tmp_path, monkeypatch, overrides, fits, needed):
    config, folder = config_of([*LONG, *overrides]), tmp_path / "new" / "run"
    let_disk_have(monkeypatch, 2)
    (problem,) = check(config, folder=folder).problems
    text = f"{overrides[-1]}: should be at most {fits}: the checkpoint needs at least {needed}"
    assert str(problem) == f"{text}, the disk of {folder} has 2.0 MB free"
    assert not folder.parent.exists()
    assert check(config).problems == check(config, learns=False, folder=folder).problems == []
    short = {**config, "runner": config["runner"] | {"total_steps": 100_000}}
    assert check(short, folder=folder).problems == [], "the memory does not fill"
    let_disk_have(monkeypatch, 0)
    assert check(config, folder=folder).problems == [], "the size of the disk is not known"
    let_disk_have(monkeypatch, 2)
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "rows-1.rows").write_bytes(bytes(9 * 10**6))
    assert check(config, folder=folder).problems == [], "the files there are replaced"


def test_frames_that_might_not_shrink_are_a_warning(tmp_path, monkeypatch):
    config = config_of([*LONG, "env=catch", "network/torso=mlp", "memory.capacity=1000000"])
    text = f"1000000: the checkpoint needs up to 100.2 MB if its frames do not shrink, the disk of {tmp_path}"
    for megabytes, warned in ((100, 1), (101, 0)):
        let_disk_have(monkeypatch, megabytes)
        report = check(config, folder=tmp_path)
        assert report.problems == []
        assert sum(text in warning for warning in report.warnings) == warned


def test_shared_memory_counts_once():
    array, tensor = np.zeros((4, 8)), torch.zeros(6)
    made = SimpleNamespace(
        one=array[1:], other=[array, {"flat": array.reshape(-1)}], tensors=(tensor, tensor[2:])
    )
    made.itself, made.kind = made, np
    assert array_bytes(made) == 4 * 8 * 8 + 6 * 4


def test_a_large_space_is_counted_without_numbers():
    """A one-hot observation of a billion values would fill the memory before the run is refused."""
    spec = env_factory(config_of([])["env"]).spec
    network = json.dumps(config_of(["network.torso.hidden_sizes=[16]"])["network"])
    categories = spec._replace(obs=spec.obs._replace(shape=(), num_categories=10**12))
    assert network_size(network, categories).parameters == (10**12 + 1) * 16 + 17 * 2
    assert network_size(network, spec._replace(num_actions=10**12)).parameters == 5 * 16 + 17 * 10**12


def test_parts_that_cannot_be_measured_count_as_nothing():
    spec = env_factory(config_of([])["env"]).spec
    assert row_bytes(json.dumps({"_target_": "dqn.memory.Nothing"}), spec, 9) == 0
    assert optimizer_bytes(json.dumps({"_target_": "dqn.agent.Nothing"})) == 0
    assert network_size(json.dumps({"_target_": "dqn.network.Nothing"}), spec) == (0, 0)


def test_open_files(monkeypatch):
    monkeypatch.setattr(resources, "most_open_files", lambda: 256)
    (problem,) = check(config_of(["num_seeds=300"])).problems
    assert (
        str(problem)
        == "num_seeds=300: should be at most 96: the run needs 664 open files, ulimit -Hn allows 256"
    )
    assert check(config_of(["num_seeds=96"])).problems == []
    assert check(config_of(["num_seeds=300"]), learns=False).problems == []
    workers = [*STEPS, "env.num_envs=100", "env.vectorization=async"]
    assert [one.key for one in check(config_of(workers)).problems] == ["env.num_envs"]
    assert open_files(config_of(workers)) == 64 + 2 + 300


def test_the_soft_limit_of_open_files_is_raised_and_restored():
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(256, soft)
    with process.preserve_settings():
        resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
        system.allow_open_files(low - 1)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (low, hard)
        system.allow_open_files(low + 50)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(low + 50, system.most_open_files()), hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_the_memory_of_a_control_group(tmp_path, monkeypatch):
    whole = system.machine_memory()
    monkeypatch.setattr(system, "CGROUPS", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert system.machine_memory() >= whole
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2, version 1
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("123456\n")
    assert system.machine_memory() == 123456
