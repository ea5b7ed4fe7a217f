"""Lower bounds of our costs, and plain PyTorch code for the same work."""

import itertools
from collections.abc import Callable, Sequence

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.subjects import Call
from dqn.types import Array, Batch, ObsSpec


def module(sizes: Sequence[int]) -> nn.Sequential:
    """Return a plain network: linear layers with ReLU between them."""
    layers = [layer for pair in itertools.pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class ImageModule(nn.Module):
    """A plain convolutional network with one hidden layer, which reads observations [B, ...].

    Args:
        obs: format of an observation.
        convolutions: outputs, size of the kernels and stride of each convolution.
        hidden_size: units of the hidden layer.
        num_actions: outputs.
    """

    def __init__(
        self,
        obs: ObsSpec,
        convolutions: Sequence[tuple[int, int, int]],
        hidden_size: int,
        num_actions: int,
    ) -> None:
        super().__init__()
        self.scale, self.channels_last = obs.scale, len(obs.shape) == 3
        count = obs.encoded_shape[0]
        layers: list[nn.Module] = []
        for following, kernel, stride in convolutions:
            layers += [nn.Conv2d(count, following, kernel, stride), nn.ReLU()]
            count = following
        layers.append(nn.Flatten())
        features = nn.Sequential(*layers)(torch.zeros(1, *obs.encoded_shape)).shape[1]
        self.layers = nn.Sequential(*layers, *module([features, hidden_size, num_actions]))

    def forward(self, obs: Tensor) -> Tensor:
        x = obs.permute(0, 3, 1, 2) if self.channels_last else obs
        values: Tensor = self.layers(x.float() if self.scale == 1 else x.float() * self.scale)
        return values


def plain_update(make: Callable[[], nn.Module], batch: Batch, lr: float, max_grad_norm: float) -> Call:
    """Return an update in plain PyTorch of what `make` makes, for the first seed of a batch."""
    online, target = make().to(batch.obs.device), make().to(batch.obs.device)
    optimizer = torch.optim.Adam(online.parameters(), lr=lr)
    obs, action, reward, discount, next_obs = (each[0] for each in batch.tensors())

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
    """Return the matrix products of an update: both networks forward, the online one backward.

    Each is one product, batched over the seeds, into preallocated memory. It costs the same with transposed
    factors.
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
    """Return a call that takes a module's greedy action under inference_mode, for one observation."""
    network = module(sizes)

    def act() -> int:
        with torch.inference_mode():
            return int(network(torch.from_numpy(obs)).argmax())

    return act


def action_products(sizes: Sequence[int], num_seeds: int) -> Call:
    """Return the matrix products of an action in NumPy, for one observation of each seed."""
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
    """Return a step of Gymnasium's vector of CartPoles, which resets finished episodes in the next step."""
    envs = gymnasium.make_vec("CartPole-v1", num_envs, vectorization_mode="sync")
    envs.reset(seed=0)
    actions = np.arange(num_envs) % 2
    return lambda: envs.step(actions)


def bare_step() -> Call:
    """Return a step of CartPole without wrappers, with a reset after the episode's last step."""
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=0)

    def step() -> None:
        if env.step(1)[2]:
            env.reset()

    return step
