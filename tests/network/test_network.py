"""Networks with the seed axis, against torch's own layers for each seed."""

from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from heads import LINEAR, NOISY, generators, make_network
from torch import nn

from dqn.network import SingleStream, flatten
from dqn.network.layers import Activation
from dqn.network.parameters import ALIGNMENT
from dqn.types import ObsSpec

network = partial(make_network, num_seeds=3)


def spec_of(
    shape: tuple[int, ...], dtype: type = np.float32, categories: int = 0, scale: float = 1.0
) -> ObsSpec:
    return ObsSpec(shape, np.dtype(dtype), categories, scale)


def test_each_seed_computes_what_torch_layers_compute():
    stacked = network(spec_of((4,)))
    x = torch.randn(3, 6, 4)
    for k in range(3):
        plain = torch.nn.Sequential(
            *(torch.nn.Linear(4, 7), torch.nn.ReLU(), torch.nn.Linear(7, 5), torch.nn.ReLU()),
            torch.nn.Linear(5, 3),
        )
        leaves = [leaf[k].squeeze(0) for leaf in stacked.parameters()]
        for leaf, stored in zip(plain.parameters(), leaves, strict=True):
            leaf.data = stored.detach().T if stored.dim() == 2 else stored.detach()
        torch.testing.assert_close(stacked(x).mean()[k], plain(x[k]))


@pytest.mark.parametrize("name", get_args(Activation))
def test_activations_are_torchs(name):
    """Between layers and after the torso's last one; odd sizes are padded on the way."""
    kinds = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}
    streams = partial(SingleStream, hidden_sizes=[5], activation=name)
    stacked = network(spec_of((4,)), sizes=(7,), activation=name, streams=streams)
    x = torch.randn(3, 6, 4)
    for k in range(3):
        first, second, last = (
            partial(torch.addmm, leaf[1][k], mat2=leaf[0][k])
            for leaf in zip(*[iter(stacked.parameters())] * 2, strict=True)
        )
        kind = kinds[name]()
        q = last(mat1=kind(second(mat1=kind(first(mat1=x[k])))))
        torch.testing.assert_close(stacked(x).mean()[k], q)


def test_a_range_of_observations_is_read_as_minus_one_to_one():
    ranged = network(spec_of((2,)), low=[-4.0, 0.0], high=[4.0, 0.5])
    obs = torch.tensor([[[-4.0, 0.0], [4.0, 0.5], [0.0, 0.25], [8.0, 0.125]]]).expand(3, -1, -1)
    read = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [2.0, -0.5]])
    torch.testing.assert_close(ranged.encode(obs), read.expand(3, -1, -1))
    plain = network(spec_of((2,)))
    torch.testing.assert_close(ranged(obs).mean(), plain(ranged.encode(obs)).mean())


def test_gradients_equal_those_of_vmap():
    """torch.func.vmap over single networks is the oracle for values and gradients."""
    stacked = network(spec_of((4,)))
    single = make_network(spec_of((4,)), num_seeds=1)
    x = torch.randn(3, 6, 4)
    stacked(x).mean().square().sum().backward()
    leaves = {name: leaf.detach().unsqueeze(1) for name, leaf in stacked.named_parameters()}

    def loss(parameters, x):
        call = torch.func.functional_call(single, parameters, (x.unsqueeze(0),))
        return call.mean().square().sum()

    oracle = torch.func.vmap(torch.func.grad(loss))(leaves, x)
    for name, leaf in stacked.named_parameters():
        torch.testing.assert_close(leaf.grad, oracle[name].squeeze(1))


def test_initial_parameters_are_uniform_within_torchs_bound():
    layer = LINEAR(in_features=100, out_features=300, generators=generators(2))
    for leaf in (layer.weight, layer.bias):
        assert leaf.abs().max() <= 0.1
        assert leaf.abs().max() > 0.099
        assert abs(leaf.mean()) < 0.01
    assert not torch.equal(layer.weight[0], layer.weight[1])
    alone = LINEAR(in_features=100, out_features=300, generators=generators()[1:])
    assert torch.equal(alone.weight[0], layer.weight[1])


@pytest.mark.parametrize("kind", [LINEAR, NOISY], ids=["linear", "noisy"])
@pytest.mark.parametrize(
    ("initializer", "bound"), [("xavier", (6 / 400) ** 0.5), ("variance_scaling", (3 / 3**0.5 / 100) ** 0.5)]
)
def test_initial_weights_are_uniform_within_a_chosen_bound(initializer, bound, kind):
    given = {"initializer": initializer, "in_features": 100, "out_features": 300}
    layer, alone = (kind(**given, generators=each) for each in (generators(2), generators()[1:]))
    assert bound * 0.99 < layer.weight.abs().max() <= bound
    assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.01)
    assert torch.equal(alone.weight[0], layer.weight[1])
    assert not layer.bias.any()


def test_flat_parameters_are_the_networks_own():
    net = network(spec_of((4,)))
    before = [leaf.detach().clone() for leaf in net.parameters()]
    flat = flatten(net, torch.device("cpu"))
    assert flat.value.shape[1] % ALIGNMENT == 0
    for leaf, old in zip(net.parameters(), before, strict=True):
        assert torch.equal(leaf, old)
        assert all(leaf[k].data_ptr() % (4 * ALIGNMENT) == 0 for k in range(3))
    flat.value.zero_()
    assert all((leaf == 0).all() for leaf in net.parameters())


def test_observations_are_encoded():
    """One-hot for discrete observations, bytes divided by 255, other numbers as they are."""
    discrete = network(spec_of((), np.uint8, categories=4))
    assert discrete.encode(torch.tensor([[2, 0]], dtype=torch.uint8)).tolist() == [
        [[0, 0, 1, 0], [1, 0, 0, 0]]
    ]
    pixels = network(spec_of((1, 2), np.uint8, scale=1 / 255))
    torch.testing.assert_close(
        pixels.encode(torch.tensor([[[255, 51]]], dtype=torch.uint8)), torch.tensor([[[1, 0.2]]])
    )
    assert network(spec_of((2, 3))).encode(torch.ones(3, 1, 2, 3)).equal(torch.ones(3, 1, 2, 3))


def test_no_hidden_layer_is_a_linear_map():
    net = network(spec_of((2, 3)), sizes=())
    assert [tuple(leaf.shape) for leaf in net.parameters()] == [(3, 6, 3), (3, 1, 3)]
    assert net(torch.ones(3, 5, 2, 3)).mean().shape == (3, 5, 3)
