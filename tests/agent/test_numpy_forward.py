"""Acting in NumPy is the network itself, at every moment of training."""

from functools import partial

import numpy as np
import pytest
import torch
from heads import HEADS, NOISY
from torch import nn

from dqn.agent.numpy_forward import numpy_forward, one_hot, translated
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.network import (
    MLP,
    DuelingStreams,
    ExpectedHead,
    ImplicitQuantileHead,
    Linear,
    Noisy,
    QNetwork,
    SingleStream,
    flatten,
)
from dqn.types import EnvSpec, ObsSpec

SPECS = {
    "numbers": ObsSpec((2, 3), np.dtype(np.float32), 0, 1.0),
    "bytes": ObsSpec((6,), np.dtype(np.uint8), 0, 1 / 255),
    "discrete": ObsSpec((), np.dtype(np.uint8), 5, 1.0),
}


EXPECTED = partial(ExpectedHead, huber_delta=1.0)
SINGLE = partial(SingleStream, hidden_sizes=[])


def make(obs: ObsSpec, *, torso=MLP, sizes=(16, 8), streams=SINGLE, head=EXPECTED, layer=Linear) -> QNetwork:
    return QNetwork(
        obs_low=None,
        obs_high=None,
        torso=partial(torso, hidden_sizes=list(sizes), layer_norm=False),
        streams=streams,
        head=head,
        layer=layer,
        spec=EnvSpec(obs, 3, None),
        generators=[torch.Generator().manual_seed(k) for k in range(2)],
    )


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("sizes", [(), (16,), (16, 8)])
def test_equals_torch_before_and_after_an_update(name, sizes):
    spec = SPECS[name]
    network = make(spec, sizes=sizes)
    flat = flatten(network, torch.device("cpu"))
    forward = numpy_forward(network, is_random=False)
    rng = np.random.default_rng(0)
    high = spec.num_categories or 255
    obs = rng.integers(0, high, (2, 4, *spec.shape)).astype(spec.dtype)
    for _ in range(2):
        with torch.no_grad():
            expected = network(torch.from_numpy(obs)).mean()
        np.testing.assert_allclose(forward(obs), expected, rtol=1e-4, atol=1e-5)
        assert forward(obs).dtype == np.float32
        flat.value.add_(0.1)


@pytest.mark.parametrize("layer", [Linear, partial(Noisy, sigma=0.5)], ids=["linear", "noisy"])
def test_parameters_that_meet_no_observation_are_followed_too(layer):
    """The embedding of fixed fractions is a function of parameters alone."""
    head = partial(
        ImplicitQuantileHead,
        **{"huber_delta": 1.0, "num_cosines": 4},
        **{"num_samples": 2, "num_target_samples": 3, "num_action_samples": 4},
    )
    streams = partial(DuelingStreams, hidden_sizes=[8])
    network = make(SPECS["numbers"], streams=streams, head=head, layer=layer)
    flat = flatten(network, torch.device("cpu"))
    forward = numpy_forward(network, is_random=True)
    obs = np.random.default_rng(0).standard_normal((2, 4, 2, 3)).astype(np.float32)
    for _ in range(2):
        ours, theirs = (NumpyRng(seeds=range(2), name="acting", role="acting") for _ in range(2))
        with torch.no_grad():
            steady = network(torch.from_numpy(obs)).mean()
            varying = network(torch.from_numpy(obs), TorchRng(theirs, torch.device("cpu"))).mean()
        np.testing.assert_allclose(forward(obs), steady, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(forward(obs, ours), varying, rtol=1e-4, atol=1e-5)
        flat.value.add_(0.1)


class Odd(MLP):
    def forward(self, x, rng):
        return torch.erfinv(super().forward(x, rng).tanh() / 2)


def test_a_network_of_other_operations_stays_in_torch():
    network = make(SPECS["numbers"], torso=Odd)
    assert numpy_forward(network, is_random=False) is None


def test_an_operation_with_keywords_stays_in_torch():
    class Keywords(MLP):
        def forward(self, x, rng):
            return torch.relu(input=super().forward(x, rng))

    assert numpy_forward(make(SPECS["numbers"], torso=Keywords), is_random=False) is None


def test_modules_of_torch_stay_in_torch():
    class Normed(MLP):
        def __init__(self, **words):
            super().__init__(**words)
            self.norm = nn.LayerNorm(self.out_features)

        def forward(self, x, rng):
            return self.norm(super().forward(x, rng))

    assert numpy_forward(make(SPECS["numbers"], torso=Normed), is_random=False) is None


@pytest.mark.parametrize("line", ["x if x.dim() == 3 else x + 1", "x.flatten()"])
def test_what_cannot_be_followed_stays_in_torch(line):
    """Branches on values that tracing does not know, and uses that NumPy's twin does not cover."""

    class Branching(MLP):
        def forward(self, x, rng):
            shape = super().forward(x, rng).shape if line == "x.flatten()" else None
            x = super().forward(x, rng)
            x = eval(line)
            return x.reshape(shape) if shape else x

    forward = numpy_forward(make(SPECS["numbers"], torso=Branching), is_random=False)
    assert forward is None


def test_one_hot_by_hand():
    assert one_hot(np.array([[2], [0]]), 3).tolist() == [[[0, 0, 1]], [[1, 0, 0]]]


def test_a_range_of_observations_equals_torch():
    network = QNetwork(
        obs_low=[-1.0, -2.0, 0.0, 0.0, 0.0, -0.07],
        obs_high=[1.0, 2.0, 1.0, 4.0, 0.5, 0.07],
        torso=partial(MLP, hidden_sizes=[6], layer_norm=False),
        streams=SINGLE,
        head=HEADS["expected"],
        layer=Linear,
        spec=EnvSpec(SPECS["numbers"], 3, None),
        generators=[torch.Generator().manual_seed(0)],
    )
    flatten(network, torch.device("cpu"))
    obs = torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(0))
    forward = numpy_forward(network, is_random=False)
    np.testing.assert_allclose(forward(obs.numpy()), network(obs).mean().detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("layer", [Linear, NOISY])
@pytest.mark.parametrize("more", [False, True])
def test_every_head_equals_torch_before_and_after_an_update(name, layer, more):
    """With an rng and without; a value that hangs on parameters alone must not be computed beforehand."""
    network = QNetwork(
        obs_low=None,
        obs_high=None,
        torso=partial(MLP, hidden_sizes=[6], layer_norm=more),
        streams=partial(DuelingStreams if more else SingleStream, hidden_sizes=[5] * more),
        head=HEADS[name],
        layer=layer,
        spec=EnvSpec(SPECS["numbers"], 3, None),
        generators=[torch.Generator().manual_seed(k) for k in range(2)],
    )
    flat = flatten(network, torch.device("cpu"))
    forward = numpy_forward(network, is_random=True)
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(2, 4, 2, 3, generator=generator)
    for _ in range(2):
        ours, theirs = (NumpyRng(seeds=[0, 1], name="test", role="acting") for _ in range(2))
        with torch.no_grad():
            steady = network(obs).mean()
            varying = network(obs, TorchRng(theirs, torch.device("cpu"))).mean()
        np.testing.assert_allclose(forward(obs.numpy()), steady, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(forward(obs.numpy(), ours), varying, rtol=1e-4, atol=1e-4)
        flat.value.add_(0.3 * torch.randn(flat.value.shape, generator=generator))


def test_what_hangs_on_parameters_alone_follows_them():
    class Normalized(MLP):
        def forward(self, x, rng):
            return super().forward(x, rng) * torch.sqrt(torch.abs(self.layers[0].weight)).mean((1, 2), True)

    network = make(SPECS["numbers"], torso=Normalized)
    flat = flatten(network, torch.device("cpu"))
    forward = numpy_forward(network, is_random=False)
    flat.value.mul_(2)
    with torch.no_grad():
        np.testing.assert_allclose(forward(OBS), network(torch.from_numpy(OBS)).mean(), rtol=1e-4)


OBS = np.ones((2, 4, 2, 3), np.float32)


class Alike(nn.Module):
    """Two parameters whose names differ by a dot."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Module()
        self.gain.scale = nn.Parameter(torch.full((2,), 2.0))
        self.gain_scale = nn.Parameter(torch.full((2,), 3.0))

    def forward(self, x):
        return x * self.gain.scale + self.gain_scale


def test_names_that_are_alike_are_not_mixed_up():
    assert translated(Alike(), "forward")(np.ones(2, np.float32)).tolist() == [5, 5]
