"""Acting in NumPy is the network itself, at every moment of training."""

from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from heads import HEADS, LINEAR, NOISY, make_network
from torch import nn

from dqn.agent.numpy_forward import numpy_forward, translated
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.network import MLP, DuelingStreams, SingleStream, flatten
from dqn.network.layers import Activation
from dqn.types import ObsSpec

SPECS = {
    "numbers": ObsSpec((2, 3), np.dtype(np.float32), 0, 1.0),
    "bytes": ObsSpec((6,), np.dtype(np.uint8), 0, 1 / 255),
    "discrete": ObsSpec((), np.dtype(np.uint8), 5, 1.0),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("sizes", [(), (16,), (16, 8)])
def test_equals_torch_before_and_after_an_update(name, sizes):
    spec = SPECS[name]
    network = make_network(spec, sizes=sizes)
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


class Torso(MLP):
    """A torso with another operation behind it."""

    change = staticmethod(lambda self, x: x)

    def __init__(self, **parts):
        super().__init__(**parts)
        self.norm = nn.LayerNorm(self.out_features)

    def forward(self, x, rng):
        return self.change(self, super().forward(x, rng))


@pytest.mark.parametrize(
    ("change", "translates"),
    [
        (lambda self, x: x, True),
        (lambda self, x: torch.erfinv(x.tanh() / 2), False),
        (lambda self, x: torch.relu(input=x), False),
        (lambda self, x: self.norm(x), False),
        (lambda self, x: x if x.dim() == 3 else x + 1, False),
        (lambda self, x: x.flatten().reshape(x.shape), False),
    ],
    ids=["none", "unknown", "keyword", "torch's parameters", "branch", "other use"],
)
def test_what_numpy_cannot_follow_stays_in_torch(monkeypatch, change, translates):
    """Operations and uses that NumPy's twin does not cover, and branches on values that a trace lacks."""
    monkeypatch.setattr(Torso, "change", staticmethod(change))
    forward = numpy_forward(make_network(SPECS["numbers"], torso=Torso), is_random=False)
    assert (forward is not None) == translates


@pytest.mark.parametrize("name", get_args(Activation))
def test_activations(name):
    """NumPy has ReLU and tanh."""
    forward = numpy_forward(make_network(SPECS["numbers"], activation=name), is_random=False)
    assert (forward is not None) == (name in ("relu", "tanh"))


def test_a_range_of_observations_equals_torch():
    network = make_network(
        SPECS["numbers"], low=[-1.0, -2.0, 0.0, 0.0, 0.0, -0.07], high=[1.0, 2.0, 1.0, 4.0, 0.5, 0.07]
    )
    flatten(network, torch.device("cpu"))
    obs = torch.randn(2, 4, 2, 3, generator=torch.Generator().manual_seed(0))
    forward = numpy_forward(network, is_random=False)
    np.testing.assert_allclose(forward(obs.numpy()), network(obs).mean().detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("layer", [LINEAR, NOISY])
@pytest.mark.parametrize("more", [False, True])
def test_every_head_equals_torch_before_and_after_an_update(name, layer, more):
    """With an rng and without; a value of parameters alone, such as the embedding, follows them."""
    streams = partial(DuelingStreams if more else SingleStream, hidden_sizes=[5] * more, activation="relu")
    parts = {"sizes": [6], "layer_norm": more, "streams": streams, "layer": layer}
    parts["head"] = partial(HEADS[name], rescale=1e-2 if more else None)
    network = make_network(SPECS["numbers"], **parts)
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


def test_a_value_of_parameters_alone_follows_them():
    class Normalized(MLP):
        def forward(self, x, rng):
            return super().forward(x, rng) * torch.sqrt(torch.abs(self.layers[0].weight)).mean((1, 2), True)

    network = make_network(SPECS["numbers"], torso=Normalized)
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
