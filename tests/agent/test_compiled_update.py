"""The compiled update against the one that is not."""

import errno
import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import config_of
from hydra.utils import instantiate

from dqn.agent import Agent, compile_cache, cuda_graph
from dqn.agent import compiled_update as compiled
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.config.validate import check
from dqn.errors import UserError
from dqn.types import Batch, EnvSpec, Image, ObsSpec, Sample

SPEC = EnvSpec(ObsSpec((4,), np.dtype(np.float32), 0, 1.0), 3, None)
SMALL = ["network.torso.hidden_sizes=[16]", "agent.max_grad_norm=0.5"]
TOLERANCE = 2e-5
"""Largest difference of gradients and reports, relative to the largest value: 170 units in the last place."""


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def make(
    overrides: list[str],
    *,
    compiles: bool | str,
    updates: int = 0,
    num_seeds: int = 2,
    device: str = "cpu",
    spec: EnvSpec = SPEC,
) -> Agent:
    config = config_of([*overrides, *SMALL, f"agent.compile={compiles}"])
    common = {"spec": spec, "seeds": range(num_seeds), "num_envs": 1, "device": torch.device(device)}
    network = instantiate(config["network"], _convert_="all")
    agent: Agent = instantiate(config["agent"], _convert_="all")(
        network=network, planned_updates=updates, **common
    )
    return agent


def samples(count: int, num_seeds: int = 2, *, masked: bool = False) -> list[Sample]:
    generator = np.random.default_rng(0)
    shape = (num_seeds, 32)

    def numbers(*tail: int) -> torch.Tensor:
        return torch.from_numpy(generator.standard_normal((*shape, *tail), np.float32))

    def sample() -> Sample:
        action = torch.from_numpy(generator.integers(3, size=shape))
        discount = torch.from_numpy(generator.choice(np.float32([0.0, 0.97]), shape))
        batch = Batch(numbers(4), action, numbers(), discount, numbers(4))
        if masked:
            mask, next_mask = (numbers(3).scatter(-1, action.unsqueeze(-1), 9) > 0.5 for _ in range(2))
            batch = batch._replace(mask=mask, next_mask=next_mask)
        return Sample(batch, numbers().abs(), np.zeros(shape, np.int64))

    return [sample() for _ in range(count)]


def near(ours, theirs) -> None:
    scale = float(np.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * scale)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["agent=rainbow", "network.torso.layer_norm=true", "network.head.rescale=1e-3"],
        ["agent=munchausen", "network/streams=dueling"],
        ["agent=m_iqn", "network/layer=noisy"],
        ["agent=qrdqn", "agent/optimizer=rmsprop"],
    ],
    ids=" ".join,
)
def test_it_is_the_update_within_rounding(overrides):
    within_rounding(overrides)


def within_rounding(overrides: list[str]) -> torch.Tensor:
    """Compare three updates on the same random numbers: priorities, loss, values, norm and gradients.

    Those of agent=double have masks.

    Returns:
        The gradient of the first compiled update.
    """
    plain, graph = (make(overrides, compiles=compiles) for compiles in (False, True))
    gradients = []
    for sample in samples(3, masked="agent=double" in overrides):
        reports = [agent.update(sample, 0) for agent in (plain, graph)]
        gradients.append(graph._parameters.gradient.clone())
        for ours, theirs in zip(reports[1], reports[0], strict=True):
            near(ours, theirs)
        near(graph._parameters.gradient.numpy(), plain._parameters.gradient.numpy())
        assert graph.learning_rng.state_dict() == plain.learning_rng.state_dict()
        graph._parameters.value.copy_(plain._parameters.value)  # so differences do not add up
        graph.optimizer.load_state_dict(plain.optimizer.state_dict())
    with pytest.raises(ValueError, match=r"the batch is \(3, 32\), the first one was \(2, 32\)"):
        graph.update(samples(1, num_seeds=3, masked="agent=double" in overrides)[0], 0)
    assert plain.compiles is False
    assert graph.compiles is True
    return gradients[0]


def restore(content: bytes, *_, path: Path, kept: bool) -> None:
    assert kept
    path.write_bytes(content)


@pytest.mark.process
def test_a_later_process_finds_the_library(tmp_path, monkeypatch):
    """It runs on other tensors, without the compiler, and gives the same; a damaged file is replaced."""
    overrides = ["agent=double", "network/layer=noisy"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    expected = within_rounding(overrides)
    (file,) = compile_cache.cache_folder().glob("*.so")
    content = file.read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "damaged"))  # an open library is not read again
    damaged = compile_cache.cache_folder() / file.name
    damaged.parent.mkdir(parents=True)
    damaged.touch()  # empty, as a power cut may leave it
    for cache, compiler in (("first", None), ("damaged", partial(restore, content)), ("damaged", None)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        monkeypatch.setattr(compile_cache, "compile_library", compiler)
        later = make(overrides, compiles=True)
        later.update(samples(1, masked=True)[0], 0)
        assert torch.equal(later._parameters.gradient, expected)
    assert damaged.read_bytes() == content
    assert {path.suffix for path in file.parent.iterdir()} == {".so", ".lock"}  # and no temporary folder


IMAGE = ObsSpec((6, 6, 2), np.dtype(np.uint8), 0, 1 / 255, image=Image((6, 6, 2), channels_last=True, rest=0))
CASES: list[tuple[list[str], ObsSpec]] = [
    (["agent=rainbow"], SPEC.obs),
    (
        ["agent=m_iqn", "network/layer=noisy", "network.obs_low=[0,0,0,0]", "network.obs_high=[1,1,1,1]"],
        SPEC.obs,
    ),
    (
        ["agent=qrdqn", "agent/backup=double", "network.torso.layer_norm=true", "network/streams=dueling"],
        SPEC.obs,
    ),
    (["agent=double"], ObsSpec((), np.dtype(np.uint16), 500, 1.0)),
    (["agent=double", "network/torso=minatar"], IMAGE),
    (["agent=double", "network/torso=minatar"], IMAGE._replace(stack=2)),
]


@pytest.mark.parametrize(("overrides", "obs"), CASES)
def test_updates_of_the_family_use_described_tensors_alone(overrides, obs, monkeypatch):
    """A later process could not find other tensors."""
    seen = []

    def traced(function, given, outside, described):
        seen.append((outside, compile_cache.traced_graph(function, given, outside)[1], described))
        return function

    monkeypatch.setattr(compiled, "compiled_graph", traced)
    agent, sample = make(overrides, compiles=True, spec=SPEC._replace(obs=obs)), samples(1)[0]
    ones = torch.from_numpy(np.ones((2, 32, *obs.stacked_shape), obs.dtype))
    step = agent._gradient
    step._compile(sample.batch._replace(obs=ones, next_obs=ones), sample.weight)
    ((outside, used, described),) = seen
    assert [x.data_ptr() for x in used] == [x.data_ptr() for x in outside]
    assert described is not None


def test_auto_compiles_where_that_repays():
    enough = round(compiled.COMPILING_SECONDS / (compiled.SAVED_SECONDS[0] + 2 * compiled.SAVED_SECONDS[1]))
    assert not make(["agent=dqn"], compiles="auto", updates=enough - 1).compiles
    assert make(["agent=dqn"], compiles="auto", updates=enough + 1).compiles


def test_auto_never_compiles_for_large_images_on_a_cpu():
    small, large = (ObsSpec((size, size), np.dtype(np.uint8), 0, 1.0, stack=4) for size in (32, 33))
    given = [(small, "cpu"), (large, "cpu"), (large, "cuda")]
    repays = partial(compiled.repays, num_seeds=1, is_recurrent=False)
    repaid = [repays(10**9, obs=obs, device=torch.device(name)) for obs, name in given]
    assert repaid == [True, False, True]
    cpu = {"obs": given[0][0], "device": torch.device("cpu")}
    assert [repays(updates, **cpu, is_recurrent=True) for updates in (8_000, 8_001)] == [False, True]


def test_the_decision_stays_when_a_run_is_resumed():
    first = make(["agent=dqn"], compiles="auto", updates=10**9)
    second = make(["agent=dqn"], compiles="auto", updates=0)
    assert (first.compiles, second.compiles) == (True, False)
    second.load_state_dict(first.state_dict())
    assert second.compiles


def no_compiler(folder, patch):
    patch.setenv("CXX", "no-such-compiler")


def a_file_as_cache(folder, patch):
    patch.setenv("XDG_CACHE_HOME", __file__)


def a_cache_on_a_read_only_system(folder, patch):
    patch.setenv("XDG_CACHE_HOME", "/proc/none")


def a_full_disk(folder, patch):
    def fail(dir):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(compile_cache.tempfile, "TemporaryFile", fail)


def no_home(folder, patch):
    def fail():
        raise RuntimeError("Could not determine home directory.")

    patch.delenv("XDG_CACHE_HOME")
    patch.setattr(compile_cache.Path, "home", fail)


def no_temporary_folder(folder, patch):
    (folder / "file").touch()
    patch.setattr(compile_cache.tempfile, "gettempdir", lambda: folder / "file")


ROOM = "cannot take 8 MB"
OBSTACLES = {
    no_compiler: r"no C\+\+ compiler was found; install g\+\+ or set CXX to another compiler",
    a_file_as_cache: rf"/dqn/compiled {ROOM} \(.*Not a directory.*\); set XDG_CACHE_HOME to",
    a_cache_on_a_read_only_system: rf"/proc/none/dqn/compiled {ROOM} \(.*\); set XDG_CACHE_HOME to",
    a_full_disk: rf"/dqn/compiled {ROOM} \(.*No space left on device\); set XDG_CACHE_HOME to",
    no_home: rf"the folder {ROOM} \(Could not determine home directory.\); set XDG_CACHE_HOME to",
    no_temporary_folder: rf"/file {ROOM} \(.*\); set TMPDIR to a folder that can",
}


@pytest.mark.parametrize("spoil", OBSTACLES, ids=lambda spoil: spoil.__name__)
def test_a_machine_that_cannot_compile(spoil, tmp_path, monkeypatch, caplog):
    """`true` is refused before the run has a folder; `auto` warns and does without."""
    spoil(tmp_path, monkeypatch)
    (problem,) = check(config_of(["agent.compile=true"])).problems
    assert problem.key == "agent.compile"
    assert re.match(rf"should be false or auto: .*{OBSTACLES[spoil]}", problem.should)
    assert not check(config_of(["agent.compile=auto"])).problems
    assert not make(["agent=dqn"], compiles="auto", updates=10**9).compiles
    assert re.match(rf"warning: agent.compile=auto: .*not compiled: .*{OBSTACLES[spoil]}", caplog.messages[0])


def untraceable(batch, weight, rng):
    return (weight, weight) if float(weight.sum()) > 0 else (weight, -weight)


def test_an_update_that_cannot_be_compiled_raises_a_user_error():
    rng = TorchRng(NumpyRng(seeds=[0], name="trial", role="action"), torch.device("cpu"))
    sample = samples(1, num_seeds=1)[0]
    with pytest.raises(UserError, match=r"agent.compile: the update cannot be compiled.*agent.compile=false"):
        compiled.CompiledGradient(untraceable, rng, tensors=[], described=None)(sample.batch, sample.weight)


def test_auto_falls_back_at_the_first_update(monkeypatch, caplog):
    """But not in a resumed run, which compiled its updates before."""

    def fail(*arguments):
        raise OSError("the disk is full")

    monkeypatch.setattr(compiled, "compiled_graph", fail)
    agents = [make(["agent=iqn"], compiles=c, updates=u) for c, u in (("auto", 10**9), (False, 0))]
    resumed = make(["agent=iqn"], compiles="auto", updates=10**9)
    resumed.load_state_dict(agents[0].state_dict())
    for sample in samples(2):
        ours, theirs = (agent.update(sample, 0) for agent in agents)
        np.testing.assert_array_equal(ours.loss, theirs.loss)
    assert agents[0].state_dict()["compiles"] is False
    (message,) = caplog.messages
    assert message.startswith(
        "warning: agent.compile=auto: updates are not compiled: OSError: the disk is full"
    )
    with pytest.raises(UserError, match="OSError: the disk is full"):
        resumed.update(sample, 0)


def test_an_error_in_a_network_stays_as_it_is():
    def gradient(batch, weight, rng):
        raise KeyError("custom")

    rng = TorchRng(NumpyRng(seeds=[0], name="trial", role="action"), torch.device("cpu"))
    sample = samples(1, num_seeds=1)[0]
    with pytest.raises(KeyError, match="custom"):
        compiled.CompiledGradient(gradient, rng, tensors=[], described=None)(sample.batch, sample.weight)


def record_calls(function):
    """Stands for a CUDA graph: calls the function again, with results in the same memory."""
    results = function()

    def replay() -> None:
        for mine, new in zip(results, function(), strict=True):
            mine.copy_(new)

    return results, replay


def test_a_graph_computes_on_copies_of_its_arguments(monkeypatch):
    """A whole update: reports, gradients and random numbers are those of an update without the graph."""
    plain, graph = (make(["agent=rainbow"], compiles=compiles) for compiles in (False, True))

    def recorded(function, given, outside, described):
        del outside, described
        function = torch.enable_grad()(function)  # its backward pass is not compiled here
        return cuda_graph.replayed(function, [each.clone() for each in given], record_calls)

    monkeypatch.setattr("dqn.agent.compiled_update.compiled_graph", recorded)
    for sample in samples(3):
        ours, theirs = (agent.update(sample, 0) for agent in (graph, plain))
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, other)
        assert torch.equal(graph._parameters.value, plain._parameters.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_graph_on_a_gpu():
    device = torch.device("cuda")
    plain, graph = (make(["agent=rainbow"], compiles=c, device=device) for c in (False, True))
    for sample in samples(3):
        there = sample._replace(
            batch=sample.batch.filled(each.to(device) for each in sample.batch.tensors()),
            weight=sample.weight.to(device),
        )
        ours, theirs = (agent.update(there, 0) for agent in (graph, plain))
        for mine, other in zip(ours, theirs, strict=True):
            near(mine, other)
        graph._parameters.value.copy_(plain._parameters.value)
        graph.optimizer.load_state_dict(plain.optimizer.state_dict())
