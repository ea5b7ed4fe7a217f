"""Recurrent cores: torch's equations, and steps that are those of acting."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from heads import generators, make_network
from torch import Tensor, nn

from dqn.agent.numpy_forward import TorchForward, numpy_forward
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.network import GRU, LSTM, QNetwork, flatten
from dqn.network.recurrent import unroll
from dqn.types import ObsSpec, Window

CPU = torch.device("cpu")
OBS = ObsSpec((4,), np.dtype(np.float32), 0, 1.0)
CORES = {"gru": GRU, "lstm": LSTM}
EACH = pytest.mark.parametrize("name", CORES)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network_with(name: str, *, units: int = 6, num_seeds: int = 2, sees_action: bool = True) -> QNetwork:
    core = partial(CORES[name], units=units)
    return make_network(OBS, num_seeds=num_seeds, core=core, sees_action=sees_action)


def learning_rng(num_seeds: int) -> TorchRng:
    return TorchRng(NumpyRng(seeds=range(num_seeds), name="trial", role="prediction"), CPU)


def torch_layer(name: str, core: Any, k: int) -> Any:
    """Return torch's layer with the weights of a seed."""
    layer = {"gru": nn.GRU, "lstm": nn.LSTM}[name](core.input.in_features, core.units)
    order = [0, 1, 3, 2] if name == "lstm" else [0, 1, 2]  # torch's candidate is the third of four
    with torch.no_grad():
        for own, part in (("ih", core.input), ("hh", core.recurrent)):
            for kind, tensor in (("weight", part.weight[k].T), ("bias", part.bias[k, 0])):
                parts = tensor.chunk(len(order))
                getattr(layer, f"{kind}_{own}_l0").copy_(torch.cat([parts[i] for i in order]))
    return layer


@EACH
def test_equals_torch(name):
    """Features, the last carry's effect, and the gradients by inputs, carry and weights."""
    units, steps, batch = 7, 5, 3
    core = CORES[name](units=units, in_features=4, generators=generators())
    x, slope = random(2, steps, batch, 4), random(2, steps, batch, units, seed=1)
    carry = random(2, batch, core.carry_size, seed=2)
    x.requires_grad_()
    carry.requires_grad_()
    prepared = torch.unflatten(core.prepare(x.flatten(1, 2), None), 1, (steps, batch))
    features = unroll(core, prepared, carry, None)
    ours = torch.autograd.grad((features * slope).sum(), [x, carry, core.recurrent.weight])
    for k in range(2):
        layer = torch_layer(name, core, k)
        given = x[k].detach().requires_grad_()
        start = [part.contiguous() for part in carry[k].detach().unsqueeze(0).split(units, -1)]
        for part in start:
            part.requires_grad_()
        expected = layer(given, start[0] if name == "gru" else tuple(start))[0]
        leaves = [given, *start, layer.weight_hh_l0]
        by_x, *by_start, by_weight = torch.autograd.grad((expected * slope[k]).sum(), leaves)
        torch.testing.assert_close(features[k], expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(ours[0][k], by_x, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(ours[1][k], torch.cat(by_start, -1)[0], atol=1e-6, rtol=1e-4)
        parts = by_weight.chunk(core.carry_size // units + 2)
        by_weight = torch.cat([parts[i] for i in ([0, 1, 3, 2] if name == "lstm" else [0, 1, 2])])
        torch.testing.assert_close(ours[2][k].T, by_weight, atol=1e-5, rtol=1e-4)


def window(**fields: Any) -> Window:
    empty = dict.fromkeys(Window._fields)
    return Window(**{**empty, **fields})


@EACH
@pytest.mark.parametrize(("batch", "units"), [(1, 1), (3, 5), (5, 10), (7, 24), (3, 33), (1, 64), (32, 64)])
def test_a_seed_alone_is_that_seed_in_a_stack(name, batch, units):
    """Features, carries and gradients, bit for bit, for any batch and number of units."""
    stack = network_with(name, num_seeds=3, units=units)
    alone = network_with(name, num_seeds=1, units=units)
    for network in (stack, alone):
        flatten(network, CPU)
    obs, previous = random(3, 6, batch, 4), random(3, 6, batch, 4, seed=1)
    carry, slope = random(3, batch, stack.carry_size, seed=2), random(3, 4, batch, units, seed=3)
    exists = (random(3, 2, batch, seed=4) > 0).float()
    for k in (1, 2):
        with torch.no_grad():
            for mine, leaf in zip(alone.parameters(), stack.parameters(), strict=True):
                mine.copy_(leaf[k : k + 1])
        results = []
        for network, part, count in ((alone, slice(k, k + 1), 1), (stack, slice(None), 3)):
            given = window(exists=exists[part], carry=carry[part], previous=previous[part])
            features = network.unroll(obs[part], given, learning_rng(count))
            used = [leaf for key, leaf in network.named_parameters() if not key.startswith("head")]
            gradients = torch.autograd.grad((features * slope[part]).sum(), used)
            acting = TorchForward(network, CPU)(
                obs[part, 0].numpy(), None, [carry[part].numpy(), previous[part, 0].numpy()]
            )
            results.append([features.detach(), *gradients, *map(torch.from_numpy, acting)])
        for ours, theirs in zip(*results, strict=True):
            assert torch.equal(ours[0], theirs[k])


@EACH
@pytest.mark.parametrize("sees_action", [False, True])
def test_steps_in_numpy_are_those_of_torch(name, sees_action):
    """Before and after the parameters change, along an episode."""
    network = network_with(name, sees_action=sees_action)
    flat = flatten(network, CPU)
    forward, reference = numpy_forward(network, is_random=False), TorchForward(network, CPU)
    assert forward is not None
    for _ in range(2):
        carries = [np.zeros((2, 3, network.carry_size), np.float32)] * 2
        for t in range(6):
            obs, previous = random(2, 3, 4, seed=t).numpy(), random(2, 3, 4, seed=t + 9).numpy()
            memory = previous if sees_action else previous[..., :0]
            ours, theirs = (
                forward(obs, None, (carries[0], memory)),
                reference(obs, None, (carries[1], memory)),
            )
            for mine, other in zip(ours, theirs, strict=True):
                assert mine.dtype == np.float32
                np.testing.assert_allclose(mine, other, atol=1e-6, rtol=1e-6)
            carries = [ours[1], theirs[1]]
        flat.value.add_(0.1 * random(*flat.value.shape))


@EACH
@pytest.mark.parametrize("batch", [1, 3, 32])
def test_a_window_is_its_steps(name, batch):
    """To the bit, but for the encoder, whose one product for all steps of a window rounds otherwise."""
    network = network_with(name, units=8)
    flatten(network, CPU)
    obs, previous = random(2, 6, batch, 4), random(2, 6, batch, 4, seed=1)
    carry = start = random(2, batch, network.carry_size, seed=2)
    steps, prepared = [], []
    with torch.no_grad():
        for t in range(6):
            one = window(carry=carry, previous=previous[:, t : t + 1])
            alone = network.unroll(obs[:, t : t + 1], one, None)[:, 0]
            prepared.append(network._prepared(obs[:, t], previous[:, t], None))
            carry = network.step(obs[:, t], carry, previous[:, t])[1]
            steps.append(carry[..., :8])
            assert torch.equal(alone, steps[-1])
        assert torch.equal(unroll(network.core, torch.stack(prepared, 1), start, None), torch.stack(steps, 1))
        features = network.unroll(obs, window(carry=start, previous=previous), None)
    torch.testing.assert_close(features, torch.stack(steps, 1), atol=1e-6, rtol=1e-6)


@EACH
def test_no_gradient_passes_through_burn_in(name):
    """The gradient is that from a constant carry, to the bit, and differs from one through all steps."""
    network = network_with(name)
    flatten(network, CPU)
    obs, previous = random(2, 7, 3, 4), random(2, 7, 3, 4, seed=1)
    start, slope = random(2, 3, network.carry_size, seed=2), random(2, 4, 3, 6, seed=3)
    leaves = [leaf for key, leaf in network.named_parameters() if not key.startswith("head")]
    carry = start
    with torch.no_grad():
        for t in range(3):
            _, carry = network.step(obs[:, t], carry, previous[:, t])
    cases = [
        (obs, window(exists=torch.ones(2, 3, 3), carry=start, previous=previous)),
        (obs[:, 3:], window(carry=carry, previous=previous[:, 3:])),
        (obs, window(carry=start, previous=previous)),
    ]
    results = []
    for given, one in cases:
        features = network.unroll(given, one, None)[:, -4:]
        gradients = torch.autograd.grad((features * slope).sum(), leaves)
        results.append([features.detach(), *gradients])
    for ours, theirs in zip(*results[:2], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(results[0][0], results[2][0], atol=1e-5, rtol=1e-5)
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(results[0][1:], results[2][1:], strict=True))


@EACH
def test_steps_before_an_episode_leave_no_trace(name):
    """Whatever lies in them, and whatever carry is stored, the episode begins with zeros."""
    network = network_with(name)
    flatten(network, CPU)
    obs, previous = random(2, 6, 3, 4), random(2, 6, 3, 4, seed=1)
    exists = torch.tensor([[0.0, 0, 1], [0, 1, 1], [0, 1, 1]]).expand(2, 3, 3)  # [steps, windows]
    carry = random(2, 3, network.carry_size, seed=2)
    with torch.no_grad():
        features = network.unroll(obs, window(exists=exists, carry=carry, previous=previous), None)
        for b, missing in enumerate((3, 1, 0)):
            part = slice(missing, None), slice(b, b + 1)
            start = carry[:, b : b + 1] if missing == 0 else None
            rest = window(carry=start, previous=previous[:, *part])
            expected = network.unroll(obs[:, *part], rest, None)[:, -3:]
            torch.testing.assert_close(features[:, :, b : b + 1], expected, atol=1e-6, rtol=1e-6)
