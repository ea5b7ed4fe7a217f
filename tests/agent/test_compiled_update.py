"""The compiled update against the one that is not."""

import numpy as np
import pytest
import torch
from helpers import config_of
from hydra.utils import instantiate

from dqn.agent import Agent, compile_cache
from dqn.agent import compiled_update as compiled
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.config.validate import check
from dqn.errors import UserError
from dqn.types import Batch, EnvSpec, ObsSpec, Sample

SPEC = EnvSpec(ObsSpec((4,), np.dtype(np.float32), 0, 1.0), 3, None)
SMALL = ["network.torso.hidden_sizes=[16]", "agent.max_grad_norm=0.5"]
TOLERANCE = 2e-5
"""Largest difference of gradients and reports, relative to the largest value: 170 units in the last place."""


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def make(overrides: list[str], *, compiles: bool | str, updates: int = 0, num_seeds: int = 2) -> Agent:
    config = config_of([*overrides, *SMALL, f"agent.compile={compiles}"])
    common = {"spec": SPEC, "seeds": range(num_seeds), "num_envs": 1, "device": torch.device("cpu")}
    network = instantiate(config["network"], _convert_="all")
    agent: Agent = instantiate(config["agent"], _convert_="all")(
        network=network, planned_updates=updates, **common
    )
    return agent


def samples(count: int, num_seeds: int = 2) -> list[Sample]:
    generator = np.random.default_rng(0)
    shape = (num_seeds, 32)

    def numbers(*tail: int) -> torch.Tensor:
        return torch.from_numpy(generator.standard_normal((*shape, *tail), np.float32))

    def sample() -> Sample:
        action = torch.from_numpy(generator.integers(3, size=shape))
        discount = torch.from_numpy(generator.choice(np.float32([0.0, 0.97]), shape))
        batch = Batch(numbers(4), action, numbers(), discount, numbers(4))
        return Sample(batch, numbers().abs(), np.zeros(shape, np.int64))

    return [sample() for _ in range(count)]


def near(ours, theirs) -> None:
    scale = float(np.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * scale)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["agent=double", "network/layer=noisy"], marks=pytest.mark.process),
        pytest.param(["agent=rainbow", "network.torso.layer_norm=true"], marks=pytest.mark.slow),
        pytest.param(["agent=munchausen", "network/streams=dueling"], marks=pytest.mark.slow),
        pytest.param(["agent=m_iqn", "network/layer=noisy"], marks=pytest.mark.slow),
        pytest.param(["agent=qrdqn", "agent/optimizer=rmsprop"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_it_is_the_update_within_rounding(overrides):
    """Three updates in a row, on the same random numbers: priorities, loss, values, norm and gradients."""
    plain, graph = (make(overrides, compiles=compiles) for compiles in (False, True))
    for sample in samples(3):
        reports = [agent.update(sample, 0) for agent in (plain, graph)]
        for ours, theirs in zip(reports[1], reports[0], strict=True):
            near(ours, theirs)
        near(graph._parameters.gradient.numpy(), plain._parameters.gradient.numpy())
        assert graph.learning_rng.state_dict() == plain.learning_rng.state_dict()
        graph._parameters.value.copy_(plain._parameters.value)  # so differences do not add up
        graph.optimizer.load_state_dict(plain.optimizer.state_dict())
    with pytest.raises(ValueError, match=r"the batch is \(3, 32\), the first one was \(2, 32\)"):
        graph.update(samples(1, num_seeds=3)[0], 0)
    assert plain.compiles is False
    assert graph.compiles is True


@pytest.mark.parametrize(
    "overrides",
    [
        ["agent=rainbow"],
        ["agent=m_iqn", "network/layer=noisy", "network.obs_low=[0,0,0,0]", "network.obs_high=[1,1,1,1]"],
        ["agent=qrdqn", "agent/backup=double", "network.torso.layer_norm=true", "network/streams=dueling"],
    ],
    ids=" ".join,
)
def test_updates_of_the_family_use_described_tensors_alone(overrides, monkeypatch):
    """A later process could not find other tensors."""
    seen = []

    def traced(function, given, outside, described):
        seen.append((outside, compile_cache.traced_graph(function, given, outside)[1], described))
        return function

    monkeypatch.setattr(compiled, "compiled_graph", traced)
    agent, sample = make(overrides, compiles=True), samples(1)[0]
    step = agent._gradient
    step._compile(sample.batch, sample.weight)
    ((outside, used, described),) = seen
    assert [x.data_ptr() for x in used] == [x.data_ptr() for x in outside]
    assert described is not None


def test_auto_compiles_where_that_repays(monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: name)
    enough = round(compiled.COMPILING_SECONDS / (compiled.SAVED_SECONDS[0] + 2 * compiled.SAVED_SECONDS[1]))
    assert not make(["agent=dqn"], compiles="auto", updates=enough - 1).compiles
    assert make(["agent=dqn"], compiles="auto", updates=enough + 1).compiles
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    assert not make(["agent=dqn"], compiles="auto", updates=enough + 1).compiles


def test_the_decision_stays_when_a_run_is_resumed():
    first = make(["agent=dqn"], compiles="auto", updates=10**9)
    second = make(["agent=dqn"], compiles="auto", updates=0)
    assert (first.compiles, second.compiles) == (True, False)
    second.load_state_dict(first.state_dict())
    assert second.compiles


def test_a_missing_compiler_is_reported_before_the_run(monkeypatch):
    config = config_of(["agent.compile=true"])
    monkeypatch.setenv("CXX", "no-such-compiler")
    (problem,) = check(config).problems
    assert (problem.key, problem.should) == (
        "agent.compile",
        "should be false or auto: no C++ compiler was found",
    )
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(compiled.shutil, "which", lambda name: name)
    assert not check(config).problems


def test_what_cannot_be_compiled_raises_a_user_error():
    def gradient(batch, weight, rng):
        return (weight, weight) if float(weight.sum()) > 0 else (weight, -weight)

    rng = TorchRng(NumpyRng(seeds=[0], name="trial", role="action"), torch.device("cpu"))
    sample = samples(1, num_seeds=1)[0]
    with pytest.raises(UserError, match=r"agent.compile: the update cannot be compiled.*agent.compile=false"):
        compiled.CompiledGradient(gradient, rng, tensors=[], described=None)(sample.batch, sample.weight)


def test_an_error_in_a_network_stays_as_it_is():
    def gradient(batch, weight, rng):
        raise KeyError("custom")

    rng = TorchRng(NumpyRng(seeds=[0], name="trial", role="action"), torch.device("cpu"))
    sample = samples(1, num_seeds=1)[0]
    with pytest.raises(KeyError, match="custom"):
        compiled.CompiledGradient(gradient, rng, tensors=[], described=None)(sample.batch, sample.weight)
