"""Heads, noisy layers and their random numbers, against the obvious computation for each seed."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from heads import HEADS, LINEAR, NOISY, SINGLE, generators, make_network

from dqn.agent.rng import NumpyRng, TorchRng, uses_rng
from dqn.network import DuelingStreams, HeadFactory, SingleStream
from dqn.network.layers import LayerNorm
from dqn.types import ObsSpec

FEATURES = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(9))
CPU = torch.device("cpu")


def factory(layer=LINEAR, streams=SINGLE):
    return HeadFactory(
        in_features=6, num_actions=3, make_streams=streams, make_layer=layer, generators=generators()
    )


def make(name, layer=LINEAR, streams=SINGLE):
    return HEADS[name](make=factory(layer, streams))


def make_rng(role="action", seeds=(0, 1)) -> TorchRng:
    return TorchRng(NumpyRng(seeds=seeds, name="test", role=role), CPU)


class Given:
    """An rng whose numbers are known beforehand."""

    def __init__(self, role, *numbers):
        self.role, self.numbers = role, list(numbers)

    def normal(self, size):
        return self.uniform(size)

    def uniform(self, *shape):
        numbers = self.numbers.pop(0)
        assert numbers.shape[1:] == shape
        return numbers


@pytest.mark.parametrize("hidden", [[], [7]])
@pytest.mark.parametrize("atoms", [1, 4])
def test_dueling_is_the_papers(atoms, hidden):
    """Wang et al. (2016), eq. 9, seed by seed, sample by sample, atom by atom."""
    streams = factory(streams=partial(DuelingStreams, hidden_sizes=hidden, activation="relu")).streams(
        num_atoms=atoms
    )
    out = streams(FEATURES, None)
    assert out.shape == (2, 5, 3, atoms)

    def stream(layers, x, k):
        for i, layer in enumerate(layers):
            x = (torch.relu(x) if i else x) @ layer.weight[k] + layer.bias[k, 0]
        return x

    for k in range(2):
        for b in range(5):
            value = stream(streams.value.layers, FEATURES[k, b], k)
            advantage = stream(streams.advantage.layers, FEATURES[k, b], k).reshape(3, atoms)
            for a in range(3):
                expected = value + advantage[a] - sum(advantage) / 3
                torch.testing.assert_close(out[k, b, a], expected)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("streams", [SingleStream, DuelingStreams])
def test_shapes(name, streams):
    head = make(name, streams=partial(streams, hidden_sizes=[4], activation="relu"))
    distribution = head(FEATURES, make_rng("prediction"))
    assert distribution.mean().shape == (2, 5, 3)
    action = torch.zeros(2, 5, dtype=torch.int64)
    target = head(FEATURES, make_rng("target")).mix(torch.full((2, 5, 3), 1 / 3))
    target = target.shift(torch.ones(2, 5), torch.ones(2, 5))
    assert distribution.at(action).mean().shape == target.mean().shape == (2, 5)
    assert distribution.at(action).loss(target).shape == (2, 5)
    assert distribution.at(action).priority(target).shape == (2, 5)


def test_categorical_probabilities_are_a_softmax_over_atoms():
    head = make("categorical")
    distribution = head(FEATURES, None)
    logits = head.streams(FEATURES, None).detach().numpy()
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(distribution.log_probs.exp().detach(), probs, rtol=1e-5)
    np.testing.assert_allclose(
        distribution.mean().detach(), probs @ np.linspace(-2, 4, 7), rtol=1e-4, atol=1e-6
    )


def test_fixed_fractions_are_the_midpoints_of_equal_parts():
    torch.testing.assert_close(make("quantile").tau, torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]))


def test_implicit_quantiles_are_the_papers():
    """Dabney et al. (2018b), eq. 4, for each sample and fraction."""
    head = make("implicit_quantile")
    tau = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(1))
    out = head(FEATURES, Given("prediction", tau))
    output = head.streams.layers[0]
    assert out.value.shape == (2, 5, 3, 6)
    for k in range(2):
        for b in range(5):
            for n in range(6):
                cosines = torch.tensor([math.cos(math.pi * i * float(tau[k, b, n])) for i in range(9)])
                embedded = torch.relu(cosines @ head.embedding.weight[k] + head.embedding.bias[k, 0])
                expected = (FEATURES[k, b] * embedded) @ output.weight[k] + output.bias[k, 0]
                torch.testing.assert_close(out.value[k, b, :, n], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(out.tau, tau)


@pytest.mark.parametrize("rescale", [None, 1.0])
def test_implicit_quantiles_choose_by_other_fractions_than_they_value(rescale):
    head = HEADS["implicit_quantile"](rescale=rescale, make=factory())
    tau = torch.rand(2, 5, 12, generator=torch.Generator().manual_seed(1))
    target = head(FEATURES, Given("target", tau))
    assert torch.equal(target.tau, tau[..., :4])
    chooser = head(FEATURES, Given("action", tau[..., 4:])).mean()
    torch.testing.assert_close(target.mean(), chooser)
    assert not torch.allclose(target.mean(), target.value.mean(-1))


@pytest.mark.parametrize("layer", [LINEAR, NOISY])
@pytest.mark.parametrize("name", HEADS)
def test_without_rng_nothing_varies(name, layer):
    head = make(name, layer)
    assert torch.equal(head(FEATURES, None).mean(), head(FEATURES, None).mean())
    varying = make_rng()
    varies = not torch.equal(head(FEATURES, varying).mean(), head(FEATURES, varying).mean())
    assert varies == (name == "implicit_quantile" or layer is NOISY)


@pytest.mark.parametrize("role", ["action", "acting"])
def test_noisy_layer_is_the_papers(role):
    """Fortunato et al. (2018), eq. 9 to 11, entry by entry."""
    layer = NOISY(in_features=6, out_features=3, generators=generators())
    noise = torch.randn(2, 6), torch.randn(2, 3)
    out = layer(FEATURES, Given(role, *noise))
    for leaf in (layer.weight_sigma, layer.bias_sigma):
        torch.testing.assert_close(leaf, torch.full_like(leaf, 0.5 / math.sqrt(6)))

    mean, sigma = (layer.weight, layer.bias), (layer.weight_sigma, layer.bias_sigma)

    def f(x):
        return math.copysign(math.sqrt(abs(x)), x)

    for k in range(2):
        means, scales = ([leaf[k].detach() for leaf in leaves] for leaves in (mean, sigma))
        for b in range(5):
            for j in range(3):
                of_output = f(float(noise[1][k, j]))
                total = float(means[1][0, j] + scales[1][0, j] * of_output)
                for i in range(6):
                    epsilon = f(float(noise[0][k, i])) * of_output
                    weight = float(means[0][i, j] + scales[0][i, j] * epsilon)
                    total += weight * float(FEATURES[k, b, i])
                assert float(out[k, b, j].detach()) == pytest.approx(total, abs=1e-4)


def test_noisy_layer_without_rng_is_a_linear_one():
    noisy, plain = (kind(in_features=6, out_features=3, generators=generators()) for kind in (NOISY, LINEAR))
    assert torch.equal(noisy(FEATURES, None), plain(FEATURES, None))


def test_rngs_belong_to_their_seed_and_waiting_seeds_draw_none():
    stack, alone = (
        NumpyRng(seeds=[3, 4], name="a", role="action"),
        NumpyRng(seeds=[4], name="a", role="action"),
    )
    np.testing.assert_array_equal(stack.normal(5)[1], alone.normal(5)[0])
    stack.using = np.array([True, False])
    assert not stack.uniform(2, 3)[1].any()
    stack.using = np.array([True, True])
    np.testing.assert_array_equal(stack.uniform(2, 3)[1], alone.uniform(2, 3)[0])
    assert not np.array_equal(stack.normal(5)[0], stack.normal(5)[0])
    other = NumpyRng(seeds=[3, 4], name="b", role="action")
    other.load_state_dict(stack.state_dict())
    np.testing.assert_array_equal(stack.normal(5), other.normal(5))


def test_rngs_are_normal_and_uniform():
    numbers = NumpyRng(seeds=[0], name="a", role="action")
    normal, uniform = numbers.normal(100_000)[0], numbers.uniform(100_000)[0]
    np.testing.assert_allclose([normal.mean(), normal.std()], [0, 1], atol=0.01)
    np.testing.assert_allclose([uniform.mean(), uniform.std()], [0.5, math.sqrt(1 / 12)], atol=0.01)


@pytest.mark.parametrize("layer", [LINEAR, NOISY])
@pytest.mark.parametrize("name", HEADS)
def test_a_network_is_known_to_vary(name, layer):
    obs = ObsSpec((4,), np.dtype(np.float32), 0, 1.0)
    streams = partial(DuelingStreams, hidden_sizes=[], activation="relu")
    network = make_network(obs, head=HEADS[name], layer=layer, streams=streams)
    assert uses_rng(network, CPU) == (name == "implicit_quantile" or layer is NOISY)


def test_layer_norm_is_torchs():
    norm, plain = LayerNorm(features=6, num_seeds=2), torch.nn.LayerNorm(6)
    torch.testing.assert_close(norm(FEATURES), plain(FEATURES))
    norm.scale.data[1], norm.shift.data[1] = 2.0, 1.0
    torch.testing.assert_close(norm(FEATURES)[1], 2 * plain(FEATURES[1]) + 1)
