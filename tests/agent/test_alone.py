"""A seed's numbers alone are those in a stack, bit for bit, for any batch, width, head and layer."""

import itertools

import numpy as np
import pytest
import torch
from heads import LINEAR
from helpers import config_of

from dqn.agent import Agent
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.config.parts import make as make_part
from dqn.network import flatten
from dqn.types import Batch, EnvSpec, ObsSpec, Sample
from dqn.value import Expected, Quantile

SILU = ["network.streams.hidden_sizes=[5]", "network.streams.activation=silu"]
MODULE = ["network/torso=module", "network.torso.module={_target_: modules.Conv, channels: 3, width: 7}"]
CONV = [
    *("network/torso=minatar", "network.torso.channels=[3,5]", "network.torso.hidden_sizes=[7]"),
    *("network.torso.kernel_sizes=[3,2]", "network.torso.strides=[2,1]"),
]
SAME = ["network.torso.padding=same", "network.torso.initializer=xavier"]
IMPALA = ["network/torso=impala", "network.torso.channels=[3]", "network.torso.hidden_sizes=[5]"]


def make(overrides: list[str], seeds: range, env: tuple[int, ...]) -> Agent:
    config = config_of(overrides)
    spec = EnvSpec(ObsSpec(env[:-1], np.dtype(np.float32), 0, 1.0), env[-1], None)
    network, agent = (make_part(config[key]) for key in ("network", "agent"))
    made: Agent = agent(
        **{"network": network, "planned_updates": 0, "spec": spec, "seeds": seeds, "num_envs": 1},
        device=torch.device("cpu"),
    )
    return made


def stacked_sample(shape: tuple[int, int], env: tuple[int, ...]) -> list[np.ndarray]:
    """Return the fields of a batch [K, B, ...], and weights."""
    rng = np.random.default_rng(0)
    sizes = [(*shape, *env[:-1]), shape, (*shape, *env[:-1]), shape]
    first, reward, following, weight = (rng.standard_normal(size, np.float32) for size in sizes)
    discount = rng.choice(np.float32([0, 0.97]), shape)
    return [first, rng.integers(env[-1], size=shape), reward, discount, following, np.abs(weight)]


def update(agent: Agent, fields: list[np.ndarray], seeds: slice) -> list[np.ndarray]:
    """Return what two updates on the seeds' part of a batch report, the parameters, and values for acting."""
    *batch, weight = (torch.from_numpy(field[seeds].copy()) for field in fields)
    rows = np.zeros(weight.shape, np.int64)
    reports = [agent.update(Sample(Batch(*batch), weight, rows), 0) for _ in range(2)]
    values = agent.policy.q_values(fields[0][seeds, :3].copy(), agent.actor.noise)
    return [*reports[0], *reports[1], agent._parameters.value.numpy(), values]


@pytest.mark.parametrize(
    ("overrides", "widths", "shape", "env"),
    [
        (["agent=c51"], [16], (4, 3), (4, 2)),
        (["agent=c51", "agent/optimizer=rmsprop", "network.head.rescale=1e-3"], [17], (3, 32), (3, 3)),
        (
            ["agent=dqn", "network.head.huber_delta=0.7", "network.head.rescale=1e-3"],
            [120, 84],
            (2, 5),
            (6, 3),
        ),
        (["agent=double", "agent.max_grad_norm=0.1"], [7], (4, 31), (1, 2)),
        (["agent=dueling", "network.streams.hidden_sizes=[5]"], [9, 6], (3, 33), (2, 5)),
        (["agent=qrdqn", "network.head.huber_delta=0.7"], [5], (3, 1), (3, 2)),
        (["agent=qrdqn", "network.torso.layer_norm=true"], [17], (2, 7), (4, 3)),
        (["agent=iqn", "network/layer=noisy"], [33], (3, 9), (3, 2)),
        (["agent=m_iqn", "network.head.rescale=1e-3"], [1], (2, 2), (5, 3)),
        (["agent=munchausen", "agent/optimizer=rmsprop"], [3, 5], (4, 6), (4, 4)),
        (["agent=rainbow"], [17], (3, 50), (5, 3)),
        (["agent=rainbow_iqn"], [10], (2, 7), (3, 2)),
        (["agent=dqn", "network.torso.activation=tanh"], [7, 5], (3, 9), (4, 3)),
        (["agent=dqn", "network.torso.activation=gelu"], [33], (3, 5), (4, 3)),
        (["agent=c51", "network.torso.activation=elu"], [16], (4, 3), (4, 2)),
        (["agent=dueling", "network.torso.activation=silu", *SILU], [9], (3, 7), (2, 5)),
        (["agent=dqn", *MODULE], [], (3, 5), (3, 2)),
        (["agent=rainbow", *MODULE], [], (4, 33), (1, 3)),
        (["agent=dqn", *CONV], [], (3, 5), (1, 7, 9, 3)),
        (["agent=c51", *CONV, *SAME], [], (2, 33), (3, 7, 5, 3)),
        (["agent=dueling", *CONV, "network.torso.activation=silu"], [], (3, 7), (2, 7, 7, 2)),
        (["agent=rainbow", *CONV], [], (4, 15), (7, 9, 3)),
        (["agent=iqn", "network/layer=noisy", *CONV, *SAME], [], (2, 1), (3, 5, 5, 3)),
        (["agent=dqn", *IMPALA], [], (3, 7), (3, 5, 7, 3)),
    ],
)
def test_updates_and_values(overrides, widths, shape, env):
    """For K seeds and batches of B, in environments with that shape of observations and number of actions."""
    sizes = [f"network.torso.hidden_sizes={widths}".replace(" ", "")] if widths else []
    words = [*overrides, *sizes]
    fields = stacked_sample(shape, env)
    stack = update(make(words, range(shape[0]), env), fields, slice(None))
    for k in {1, shape[0] - 1}:
        alone = update(make(words, range(k, k + 1), env), fields, slice(k, k + 1))
        for ours, theirs in zip(alone, stack, strict=True):
            np.testing.assert_array_equal(ours[0], theirs[k])


@pytest.mark.parametrize(
    ("overrides", "env"),
    [
        (["network.torso.hidden_sizes=[30,30]", "network.torso.activation=tanh"], (6, 3)),
        (["network.torso.hidden_sizes=[30,30]", "network.torso.activation=gelu"], (6, 3)),
        (MODULE, (6, 3)),
        ([*CONV, "network.torso.activation=silu"], (3, 7, 5, 3)),
    ],
    ids=["tanh", "gelu", "module", "convolutions"],
)
def test_acting(overrides, env):
    """Networks act alone as in a stack, also those that NumPy cannot compute."""
    rng = np.random.default_rng(0)
    stack, *alone = (
        make(overrides, seeds, env) for seeds in (range(5), *(range(k, k + 1) for k in range(5)))
    )
    for batch in (1, 2, 3, 5):
        for _ in range(20):
            obs = rng.standard_normal((5, batch, *env[:-1]), np.float32)
            values = stack.policy.q_values(obs)
            for k, one in enumerate(alone):
                np.testing.assert_array_equal(one.policy.q_values(obs[k : k + 1]), values[k : k + 1])


def test_products_and_their_gradients():
    """torch.bmm alone fails where a seed's part of a product, or of the weights, begins unaligned."""
    rng = TorchRng(NumpyRng(seeds=[0], name="trial", role="prediction"), torch.device("cpu"))
    sizes = itertools.product((1, 3, 7, 8, 31, 32), (1, 2, 5, 17, 84), (1, 3, 7, 51, 102, 120))
    for rows, inputs, outputs in sizes:
        layers = [
            LINEAR(in_features=inputs, out_features=outputs, generators=[torch.Generator()] * count)
            for count in (3, 1)
        ]
        for layer in layers:
            flatten(layer, torch.device("cpu"))
        stack, alone = layers
        numbers = torch.Generator().manual_seed(rows)
        x = torch.randn(3, rows, inputs, generator=numbers)
        slope = torch.randn(3, rows, outputs, generator=numbers)
        for k in (1,):
            results = []
            with torch.no_grad():
                for mine, leaf in zip(alone.parameters(), stack.parameters(), strict=True):
                    mine.copy_(leaf[k : k + 1])
            for layer, part in ((alone, slice(k, k + 1)), (stack, slice(None))):
                given = x[part].clone().requires_grad_()
                y = layer.forward(given, rng)
                leaves = [given, layer.weight, layer.bias]
                results.append([y.detach(), *torch.autograd.grad((y * slope[part]).sum(), leaves)])
            for ours, theirs in zip(*results, strict=True):
                assert torch.equal(ours[0], theirs[k]), (rows, inputs, outputs)


@pytest.mark.parametrize("delta", [0.7, 1.0])
def test_gradients_of_the_huber_losses(delta):
    """The kernel's gradient fails for 0.7, which is no power of two."""
    tau = torch.tensor([0.2, 0.5, 0.8])
    for size in range(1, 40):
        values, goals = torch.randn(2, 3, size, 3, generator=torch.Generator().manual_seed(size))
        for loss in (
            lambda value, goal: Expected(value, delta).loss(Expected(goal, delta)),
            lambda value, goal: Quantile(value, tau, delta).loss(Quantile(goal, tau, delta)),
        ):
            results = []
            for part in (slice(1, 2), slice(None)):
                value = values[part].clone().requires_grad_()
                results.append(torch.autograd.grad(loss(value, goals[part].clone()).sum(), value)[0])
            assert torch.equal(results[0][0], results[1][1]), size
