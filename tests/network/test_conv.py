"""Convolutional torsos, against torch's own convolutions for each seed."""

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from heads import HEADS, LINEAR, NOISY, generators
from torch import Tensor, nn

from dqn.agent import Policy, numpy_functions
from dqn.agent.numpy_forward import TorchForward, forward_pass, numpy_forward
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.errors import WrongValue
from dqn.network import Conv, DuelingStreams, Impala, QNetwork, SingleStream, conv, flatten
from dqn.network.conv import Convolution, convolve, same_padding
from dqn.network.impala import max_pool
from dqn.types import EnvSpec, Image, ObsSpec

SETTINGS: dict[str, Any] = {
    **{"channels": [3, 5], "width": 1, "kernel_sizes": [3, 2], "strides": [2, 1], "padding": "valid"},
    **{"initializer": "torch", "hidden_sizes": [6], "activation": "relu"},
}
LARGE: dict[str, Any] = {"channels": [32, 64, 64], "kernel_sizes": [8, 4, 3], "strides": [4, 2, 1]}
CPU = torch.device("cpu")


def torso_of(*, in_shape=(2, 9, 8), vector_size=0, num_seeds=2, layer=LINEAR, **changes) -> Conv:
    given = {"in_shape": in_shape, "vector_size": vector_size, "generators": generators(num_seeds)}
    return Conv(**SETTINGS | changes, **given, layer=layer)


def network_of(obs: ObsSpec, *, head="expected", streams=SingleStream, layer=LINEAR, **changes) -> QNetwork:
    return QNetwork(
        **{
            "obs_low": None,
            "obs_high": None,
            "obs_scale": changes.pop("obs_scale", "auto"),
            "sees_action": False,
            "core": None,
        },
        torso=changes.get("torso") or partial(Conv, **SETTINGS | changes),
        streams=partial(streams, hidden_sizes=[5], activation="relu"),
        **{"head": HEADS[head], "layer": layer, "spec": EnvSpec(obs, 3, None), "generators": generators()},
    )


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain_of(torso: Conv, k: int, padding: int = 0) -> nn.Sequential:
    """Return the torso of one seed made of torch's modules."""
    layers: list[nn.Module] = []
    for each in torso.convolutions:
        out, inner, size, _ = each.weight.shape[1:]
        layers += [nn.Conv2d(inner, out, size, each.stride, padding), nn.ReLU()]
        layers[-2].weight.data, layers[-2].bias.data = each.weight[k], each.bias[k]
    layers.append(nn.Flatten())
    for each in torso.dense.layers:
        layers += [nn.Linear(each.in_features, each.out_features), nn.ReLU()]
        layers[-2].weight.data, layers[-2].bias.data = each.weight[k].T, each.bias[k, 0]
    return nn.Sequential(*layers)


def test_each_seed_computes_what_torchs_modules_compute():
    """Values and gradients."""
    torso, x = torso_of(num_seeds=3), numbers(3, 7, 2, 9, 8)
    y = torso.forward(x, None)
    assert y.shape == (3, 7, torso.out_features)
    slopes = torch.autograd.grad(y.square().sum(), [each.weight for each in torso.convolutions])
    for k in range(3):
        plain = plain_of(torso, k)
        torch.testing.assert_close(y[k], plain(x[k]))
        plain(x[k]).square().sum().backward()
        for slope, i in zip(slopes, (0, 2), strict=True):
            torch.testing.assert_close(slope[k], plain[i].weight.grad)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "ends"),
    [
        (84, 8, 4, (2, 2)),
        (21, 4, 2, (1, 2)),
        (11, 3, 1, (1, 1)),
        (5, 2, 1, (0, 1)),
        (4, 1, 2, (0, 0)),
    ],
)
def test_same_padding_is_tensorflows(size, kernel, stride, ends):
    assert same_padding(size, kernel, stride) == ends


def test_same_padding_by_hand():
    """Sums of 2 x 2 pixels: those of the last column and row reach into the zeros behind them."""
    x = torch.arange(9.0).reshape(1, 1, 1, 3, 3)
    y = convolve(x, torch.ones(1, 1, 1, 2, 2), torch.zeros(1, 1), 1, "same")
    assert y.flatten().tolist() == [8, 12, 7, 20, 24, 13, 13, 15, 8]
    y = convolve(x, torch.ones(1, 1, 1, 2, 2), torch.ones(1, 1), 2, "same")
    assert y.flatten().tolist() == [9, 8, 14, 9]


@pytest.mark.parametrize(
    ("padding", "sizes", "features"), [("valid", [20, 9, 7], 3136), ("same", [21, 11, 11], 7744)]
)
def test_the_sizes_of_nature(padding, sizes, features):
    torso = torso_of(in_shape=(4, 84, 84), padding=padding, num_seeds=1, **LARGE, hidden_sizes=[])
    assert torso.out_features == features
    x, found = torch.zeros(1, 1, 4, 84, 84), []
    for each in torso.convolutions:
        x = each.forward(x)
        found.append(x.shape[-1])
    assert found == sizes


@pytest.mark.parametrize(
    ("initializer", "bound"),
    [
        ("torch", 1 / 6),
        ("xavier", (6 / (13 * 9)) ** 0.5),
        ("variance_scaling", (3 / 3**0.5 / (4 * 9)) ** 0.5),
    ],
)
def test_initial_kernels_are_uniform_within_a_bound(initializer, bound):
    given = {"in_channels": 4, "kernel_size": 3, "stride": 1, "padding": "valid", "initializer": initializer}
    stack, alone = (
        Convolution(**given, out_channels=9, generators=each) for each in (generators(), generators()[1:])
    )
    assert bound * 0.97 < stack.weight.abs().max() <= bound
    assert (stack.bias.abs().max() == 0) == (initializer != "torch")
    assert torch.equal(stack.weight[1], alone.weight[0])
    assert torch.equal(stack.bias[1], alone.bias[0])
    assert not torch.equal(stack.weight[0], stack.weight[1])


def test_width_multiplies_the_channels():
    torso = torso_of(width=0.5)
    assert [each.weight.shape[1] for each in torso.convolutions] == [2, 2]
    assert torso_of(channels=[1, 4], width=0.1).convolutions[0].weight.shape[1] == 1


def test_a_matrix_is_an_image_of_one_channel():
    torso = torso_of(in_shape=(9, 8))
    x = numbers(2, 3, 9, 8)
    assert torch.equal(torso.forward(x, None), torso.forward(x.unsqueeze(2), None))


def test_further_numbers_join_behind_the_convolutions():
    torso, x = torso_of(vector_size=3, hidden_sizes=[]), numbers(2, 4, 2 * 9 * 8 + 3)
    alone = torso_of(hidden_sizes=[])
    assert torso.out_features == alone.out_features + 3
    y = torso.forward(x, None)
    assert torch.equal(y[..., -3:], x[..., -3:])
    assert torch.equal(y[..., :-3], alone.forward(x[..., :-3].unflatten(-1, (2, 9, 8)), None))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"in_shape": (4,)}, "_target_=dqn.network.Conv: needs images, and the observations have the shape"),
        ({"in_shape": (1, 9, 6), "kernel_sizes": [3, 3]}, "kernel_sizes[1]=3: should be at most 2:"),
        ({"in_shape": (1, 2, 9)}, "kernel_sizes[0]=3: should be at most 2: convolution 1 reads 2 x 9 pixels"),
        ({"strides": [1]}, "strides=[1]: should have one number for each of network.torso.channels=[3, 5]"),
        ({"kernel_sizes": [1] * 3}, "kernel_sizes=[1, 1, 1]: should have one number for each"),
    ],
)
def test_what_does_not_fit(changes, text):
    with pytest.raises(WrongValue) as error:
        torso_of(**changes)
    assert str(error.value).startswith("network.torso.")
    assert text in str(error.value)


def test_a_small_image_fits_if_it_is_padded():
    assert torso_of(in_shape=(1, 1, 1), padding="same").forward(torch.ones(2, 3, 1, 1, 1), None).shape == (
        2,
        3,
        6,
    )


def image_spec(shape, *, dtype=np.uint8, scale=1 / 255, stack=1, last=True, rest=0, size=None) -> ObsSpec:
    return ObsSpec(size or shape, np.dtype(dtype), 0, scale, stack, Image(shape, last, rest))


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("last", [True, False])
def test_images_are_read_with_their_channels_first(stack, last):
    shape = (6, 5, 2) if last else (2, 6, 5)
    spec = image_spec(shape, stack=stack, last=last, scale=0.5)
    network, sizes = network_of(spec), (2, 4, stack, *shape)
    obs = torch.randint(256, sizes, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    encoded = network.encode(obs.reshape(2, 4, *spec.stacked_shape))
    assert encoded.shape == (2, 4, *spec.encoded_shape) == (2, 4, 2 * stack, 6, 5)
    assert encoded.is_contiguous()
    for frame, channel in [(0, 1), (stack - 1, 0)]:
        image = obs[:, :, frame, ..., channel] if last else obs[:, :, frame, channel]
        assert torch.equal(encoded[:, :, 2 * frame + channel], image.float() / 2)


@pytest.mark.parametrize("stack", [1, 2])
@pytest.mark.parametrize("shape", [(6, 5, 2), (6, 5)])
def test_images_with_further_numbers_are_flat(stack, shape):
    """The images of all frames come first."""
    size, channels = int(np.prod(shape)), 2 if len(shape) == 3 else 1
    spec = image_spec(shape, dtype=np.float32, scale=0.5, stack=stack, rest=3, size=(size + 3,))
    network = network_of(spec)
    obs = numbers(2, 4, stack, size + 3)
    encoded = network.encode(obs.reshape(2, 4, *spec.stacked_shape))
    assert encoded.shape == (2, 4, *spec.encoded_shape)
    planes = encoded[..., : stack * size].reshape(2, 4, stack, channels, 6, 5)
    whole = obs[..., :size].reshape(2, 4, stack, 6, 5, channels).movedim(-1, 3)
    assert torch.equal(planes, whole / 2)
    assert torch.equal(encoded[..., stack * size :], obs[..., size:].flatten(2) / 2)
    assert network.torso.vector_size == 3 * stack


@pytest.mark.parametrize("stack", [1, 3])
def test_a_matrix_of_bytes_is_read_as_one_channel(stack):
    spec = image_spec((6, 5), stack=stack, last=False, scale=1.0)
    obs = torch.randint(256, (2, 4, *spec.stacked_shape), dtype=torch.uint8)
    encoded = network_of(spec).encode(obs)
    assert encoded.shape == (2, 4, *spec.encoded_shape)
    assert torch.equal(encoded.flatten(), obs.float().flatten())


def test_scaling_leaves_observations_as_they_are():
    """The encoder multiplies in place what it converted, never what it was given."""
    for dtype in (torch.float32, torch.uint8):
        obs = torch.ones(2, 3, 1, 9, 8, dtype=dtype)
        spec = image_spec((1, 9, 8), dtype=str(dtype).removeprefix("torch."), last=False)
        assert network_of(spec, obs_scale=0.25).encode(obs).unique().tolist() == [0.25]
        assert obs.unique().tolist() == [1]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("layer", [LINEAR, NOISY])
def test_acting_in_numpy_equals_torch(head, layer):
    """With every head, dueling, noisy layers, both paddings, stacks and further numbers."""
    is_noisy = layer is NOISY
    shape = (9, 8, 2)
    rest = {"rest": 4, "size": (9 * 8 * 2 + 4,), "dtype": np.float32} if is_noisy else {}
    spec = image_spec(shape, stack=2, **rest)
    network = network_of(
        *(spec,),
        **{"head": head, "streams": DuelingStreams if is_noisy else SingleStream, "layer": layer},
        padding="same" if is_noisy else "valid",
    )
    flat = flatten(network, CPU)
    forward = numpy_forward(network, is_random=True)
    assert forward is not None
    obs = np.random.default_rng(0).integers(256, size=(2, 3, *spec.stacked_shape)).astype(spec.dtype)
    for _ in range(2):
        ours, theirs = (NumpyRng(seeds=[0, 1], name="test", role="acting") for _ in range(2))
        with torch.no_grad():
            steady = network(torch.from_numpy(obs)).mean()
            varying = network(torch.from_numpy(obs), TorchRng(theirs, CPU)).mean()
        np.testing.assert_allclose(forward(obs), steady, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(forward(obs, ours), varying, rtol=1e-4, atol=1e-4)
        flat.value.add_(0.1 * numbers(*flat.value.shape))


IMPALA = partial(Impala, channels=[3, 4], initializer="torch", hidden_sizes=[6])


def impala_of(*, in_shape=(2, 9, 8), num_seeds=2, blocks=2, vector_size=0, width=1) -> Impala:
    given = {"in_shape": in_shape, "vector_size": vector_size, "generators": generators(num_seeds)}
    return IMPALA(width=width, blocks=blocks, layer=LINEAR, **given)


def test_max_pool_by_hand():
    """A window at the end of an even side holds two pixels, one at each end of an odd side as well."""
    x = torch.tensor([[3.0, -1, -2, -4], [-5, -6, -7, -8], [-9, -1, -9, -9]]).reshape(1, 1, 1, 3, 4)
    for pooled in (max_pool(x, 3, 2), numpy_functions.max_pool(x.numpy(), 3, 2)):
        assert pooled.shape == (1, 1, 1, 2, 2)
        assert pooled.flatten().tolist() == [3, -2, -1, -7]


def test_impala_is_the_network_of_the_paper():
    """For one seed by torch's functions, with the parameters in the order of the layers."""
    torso, x = impala_of(), numbers(2, 3, 2, 9, 8)
    y, functions = torso.forward(x, None), nn.functional
    for k in range(2):
        leaves = [leaf[k] for leaf in torso.parameters()]
        pairs = iter(zip(leaves[::2], leaves[1::2], strict=True))
        image = x[k]
        for _ in range(2):
            image = functions.conv2d(image, *next(pairs), padding=1)
            ends = [end for size in (image.shape[3], image.shape[2]) for end in same_padding(size, 3, 2)]
            image = functions.max_pool2d(functions.pad(image, ends, value=-torch.inf), 3, 2)
            for _ in range(2):
                inner = functions.conv2d(functions.relu(image), *next(pairs), padding=1)
                image = image + functions.conv2d(functions.relu(inner), *next(pairs), padding=1)
        weight, bias = next(pairs)
        torch.testing.assert_close(y[k], functions.relu(functions.relu(image).flatten(1) @ weight + bias))
    assert len(leaves) == 2 * (2 * 5 + 1)


def test_the_sizes_of_impala():
    torso = impala_of(in_shape=(4, 84, 84), num_seeds=1, blocks=1, vector_size=7)
    assert torso.dense.layers[0].in_features == 4 * 21 * 21 + 7  # twice halved
    wide = impala_of(width=2)
    assert [stack.first.weight.shape[1] for stack in wide.stacks] == [6, 8]
    assert impala_of(blocks=0, in_shape=(1, 1)).forward(torch.ones(2, 3, 1, 1), None).shape == (2, 3, 6)


def test_impala_acts_in_numpy():
    spec = image_spec((9, 8, 2), stack=2)
    network = network_of(spec, torso=partial(IMPALA, width=1, blocks=2))
    flatten(network, CPU)
    forward = numpy_forward(network, is_random=False)
    assert forward is not None
    obs = np.random.default_rng(0).integers(256, size=(2, 3, *spec.stacked_shape)).astype(np.uint8)
    with torch.no_grad():
        np.testing.assert_allclose(forward(obs), network(torch.from_numpy(obs)).mean(), rtol=1e-4, atol=1e-5)


def test_many_large_observations_are_read_by_torch(monkeypatch):
    """By the numbers of one seed's observations, so regardless of the number of seeds."""
    spec, obs = image_spec((9, 8, 2)), np.zeros((2, 3, 9, 8, 2), np.uint8)
    network = network_of(spec)
    forward = forward_pass(network, CPU, is_random=False)
    monkeypatch.setattr(TorchForward, "__call__", lambda *given: "torch")
    for most, expected in ((3 * 144, False), (3 * 144 - 1, True)):
        monkeypatch.setattr("dqn.agent.numpy_forward.MOST_NUMBERS", most)
        assert isinstance(forward(obs), str) is expected


def test_a_policy_of_stacked_images_acts():
    spec = EnvSpec(image_spec((9, 8, 2), stack=3), 3, None)
    policy = Policy(
        network=lambda **given: network_of(given["spec"].obs), spec=spec, seeds=[0, 1], device=CPU
    )
    actor = policy.actor()
    assert actor.act(np.zeros((2, 4, 9, 8, 2), np.uint8)).shape == (2, 4)


def test_a_seeds_convolutions_do_not_depend_on_other_seeds():
    """The gradients of conv2d alone fail where a seed's images or outputs begin at unaligned addresses."""
    for rows, channels, size, outputs, kernel in itertools.product((1, 3, 7), (1, 3), (5, 7), (1, 3), (1, 3)):
        given = {"in_channels": channels, "out_channels": outputs, "kernel_size": kernel, "stride": 1}
        given |= {"padding": "same", "initializer": "torch"}
        stack, alone = (Convolution(**given, generators=each) for each in (generators(3), generators(3)[2:]))
        x, slope = numbers(3, rows, channels, size, size), numbers(3, rows, outputs, size, size, seed=1)
        results = []
        for each, part in ((stack, slice(None)), (alone, slice(2, None))):
            flatten(each, CPU)
            image = x[part].clone().requires_grad_()
            y = each.forward(image)
            leaves = [image, each.weight, each.bias]
            results.append([y, *torch.autograd.grad((y * slope[part].clone()).sum(), leaves)])
        for whole, one in zip(*results, strict=True):
            assert torch.equal(whole[2], one[0]), (rows, channels, size, outputs, kernel)


@pytest.mark.parametrize(
    ("shape", "batch", "size", "small"),
    [
        ((16, 4, 3, 3), 5, 10, True),
        ((32, 4, 8, 8), 5, 10, False),
        ((16, 4, 2, 2), 5, 7, True),  # narrow rows of outputs
        ((16, 4, 3, 3), 8, 5, True),
        ((16, 4, 3, 3), 5, 5, False),
    ],
)
def test_small_images_are_computed_by_columns(shape, batch, size, small, monkeypatch):
    """Values and gradients are those of conv2d, and bit for bit those of a seed alone."""
    calls = []
    by_columns = conv.by_columns
    monkeypatch.setattr(conv, "by_columns", lambda *given: calls.append(1) or by_columns(*given))
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(2, *shape, generator=generator), torch.randn(2, shape[0], generator=generator)
    x = torch.randn(2, batch, 4, size, size, generator=generator)
    given = [each.requires_grad_() for each in (x, weight, bias)]
    made = conv.convolve(*given, 1, "valid")
    towards = torch.randn(made.shape, generator=generator)
    expected = torch.stack([torch.nn.functional.conv2d(x[k], weight[k], bias[k]) for k in range(2)])
    for ours, theirs in zip(
        (made, *torch.autograd.grad(made, given, towards)),
        (expected, *torch.autograd.grad(expected, given, towards)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert bool(calls) == small
    alone = [each[1:].detach().clone().requires_grad_() for each in given]
    again = conv.convolve(*alone, 1, "valid")
    both = torch.autograd.grad(conv.convolve(*given, 1, "valid"), given, towards)
    for mine, stacked in zip(torch.autograd.grad(again, alone, towards[1:]), both, strict=True):
        assert torch.equal(mine[0], stacked[1])
