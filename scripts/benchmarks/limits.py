"""What bounds a cost from below, and the plain PyTorch that one would write instead."""

import itertools
from collections.abc import Sequence

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.subjects import Call
from dqn.types import Array, Batch


def module(sizes: Sequence[int]) -> nn.Sequential:
    """Return the network that one would write: Linear, with ReLU between."""
    layers = [layer for pair in itertools.pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def plain_update(sizes: Sequence[int], batch: Batch, lr: float, max_grad_norm: float) -> Call:
    """Return the update that one would write, for the first seed of a batch."""
    online, target = module(sizes), module(sizes)
    optimizer = torch.optim.Adam(online.parameters(), lr=lr)
    obs, action, reward, discount, next_obs = (tensor[0] for tensor in batch)

    def update() -> float:
        with torch.no_grad():
            y = reward + discount * target(next_obs).max(dim=1).values
        q = online(obs).gather(1, action.unsqueeze(1)).squeeze(1)
        loss = nn.functional.smooth_l1_loss(q, y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(online.parameters(), max_grad_norm)
        optimizer.step()
        return loss.item()

    return update


def products(sizes: Sequence[int], batch_size: int, num_seeds: int) -> Call:
    """Return the matrix products of an update alone: both networks forward, the online one backward.

    Each is one product, batched over the seeds, into memory that is there already. How the factors are
    stored, as they are or transposed, makes no difference to it.
    """
    multiply: list[Call] = []
    for number, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        features, weight, error = (
            torch.randn(num_seeds, *shape)
            for shape in ((batch_size, fan_in), (fan_in, fan_out), (batch_size, fan_out))
        )
        multiply += [product(features, weight), product(features, weight)]
        multiply += [product(features.transpose(1, 2), error)]
        multiply += [product(error, weight.transpose(1, 2))] if number else []

    def all_products() -> None:
        for call in multiply:
            call()

    return all_products


def product(left: Tensor, right: Tensor) -> Call:
    out = torch.empty(len(left), left.shape[1], right.shape[2])
    return lambda: torch.bmm(left, right, out=out)


def eager_action(sizes: Sequence[int], obs: Array) -> Call:
    """Return the greedy action of a module under inference_mode, for one observation."""
    network = module(sizes)

    def act() -> int:
        with torch.inference_mode():
            return int(network(torch.from_numpy(obs)).argmax())

    return act


def action_products(sizes: Sequence[int], num_seeds: int) -> Call:
    """Return NumPy's matrix products of an action alone, for one observation of each seed."""
    random = np.random.default_rng(0)
    shapes = itertools.pairwise(sizes)
    weights = [random.standard_normal((num_seeds, *shape)).astype(np.float32) for shape in shapes]
    inputs = [random.standard_normal((num_seeds, 1, size)).astype(np.float32) for size in sizes[:-1]]
    outs = [np.empty((num_seeds, 1, size), np.float32) for size in sizes[1:]]

    def multiply() -> None:
        for x, weight, out in zip(inputs, weights, outs, strict=True):
            np.matmul(x, weight, out=out)

    return multiply


def plain_step(num_envs: int) -> Call:
    """Return one step of Gymnasium's vector of CartPoles, which resets what has ended in the next one."""
    envs = gymnasium.make_vec("CartPole-v1", num_envs, vectorization_mode="sync")
    envs.reset(seed=0)
    actions = np.arange(num_envs) % 2
    return lambda: envs.step(actions)


def bare_step() -> Call:
    """Return one step of CartPole without any wrapper, reset where it has ended."""
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=0)

    def step() -> None:
        if env.step(1)[2]:
            env.reset()

    return step
