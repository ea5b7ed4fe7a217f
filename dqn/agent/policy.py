"""A Q-network of K seeds and how it acts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from dqn.agent.numpy_forward import ForwardPass, TorchForward, numpy_forward
from dqn.agent.rng import NumpyRng, uses_rng
from dqn.network import MakeNetwork, flatten
from dqn.seeding import integer
from dqn.types import (
    Array,
    EnvSpec,
    Floats,
    Integers,
)

State = dict[str, Any]


class Policy:
    """A Q-network of K seeds and how it acts: all that evaluation needs.

    Args:
        network: makes the Q-network.
        spec: observations and actions.
        seeds: each draws its parameters from its own stream.
        device: where the network computes.
    """

    def __init__(
        self, *, network: MakeNetwork, spec: EnvSpec, seeds: Sequence[int], device: torch.device
    ) -> None:
        self.network = network(spec=spec, generators=parameter_generators(seeds))
        self.parameters = flatten(self.network, device)
        self.num_actions = spec.num_actions
        self.device = device
        self.is_random = uses_rng(self.network, device)
        """Whether the network uses random numbers where it gets some."""
        numpy = numpy_forward(self.network, is_random=self.is_random)
        self.q_values: ForwardPass = numpy or TorchForward(self.network, device)

    def act(self, obs: Array, epsilon: float, uniforms: Floats, rng: NumpyRng | None = None) -> Integers:
        """Return epsilon-greedy actions [K, E]: any of all actions with probability epsilon, else the best.

        Args:
            obs: observations [K, E, ...].
            epsilon: the probability.
            uniforms: two numbers in [0, 1) for each, [K, E, 2]: whether to explore, and where.
            rng: for a network that varies; without one it does not.
        """
        explores = uniforms[..., 0] < epsilon
        count = np.count_nonzero(explores)
        if count == 0:
            return self.greedy(obs, rng)
        anywhere: Integers = (uniforms[..., 1] * self.num_actions).astype(np.int64)
        if count == explores.size and rng is None:  # how much is drawn must not hang on other seeds
            return anywhere
        return np.where(explores, anywhere, self.greedy(obs, rng))

    def greedy(self, obs: Array, rng: NumpyRng | None = None) -> Integers:
        """Return the first of the best actions [K, E] for observations [K, E, ...]."""
        best: Integers = self.q_values(obs, rng).argmax(-1)
        return best

    def state_dict(self) -> State:
        return {name: leaf.detach() for name, leaf in self.network.named_parameters()}

    def load_state_dict(self, state: State) -> None:
        copy_leaves(self.network, state)


def parameter_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return what draws the parameters of each seed's network."""
    return [torch.Generator().manual_seed(integer(seed, "parameters")) for seed in seeds]


@torch.no_grad()
def copy_leaves(network: nn.Module, state: State) -> None:
    """Copy the tensors of `state` into the parameters of the same names.

    Raises:
        ValueError: a name or a shape is not the network's.
    """
    leaves = dict(network.named_parameters())
    shapes = {name: tuple(leaf.shape) for name, leaf in leaves.items()}
    stored = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if shapes != stored:
        raise ValueError(f"parameters {stored} do not fit a network of {shapes}")
    for name, leaf in leaves.items():
        leaf.copy_(state[name])
