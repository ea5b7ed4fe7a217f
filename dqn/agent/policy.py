"""The policy: a Q-network of K seeds, all that acting and evaluation need."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from dqn.agent.actor import Actor
from dqn.agent.numpy_forward import forward_pass
from dqn.agent.recall import ForwardPass, Recall
from dqn.agent.rng import NumpyRng, uses_rng
from dqn.network import MakeNetwork, flatten
from dqn.process import float32_by_default
from dqn.seeding import Uniforms, integer
from dqn.state import check_formats
from dqn.types import Array, EnvSpec, Floats, NetworkSpec

State = dict[str, Any]


class Policy:
    """A Q-network of K seeds, and its fast forward pass for acting.

    Args:
        network: makes the Q-network.
        spec: observations and actions.
        seeds: the K seeds; each has its own stream of initial parameters.
        device: where the network computes.
    """

    @float32_by_default()
    def __init__(
        self, *, network: MakeNetwork, spec: EnvSpec, seeds: Sequence[int], device: torch.device
    ) -> None:
        self._arguments: dict[str, Any] = {"network": network, "spec": spec, "seeds": seeds, "device": device}
        with torch.device("cpu"):  # where the generators are
            self.network = network(spec=spec, generators=parameter_generators(seeds))
        self.parameters = flatten(self.network, device)
        self.num_actions, self.obs = spec.num_actions, spec.obs
        self.device = device
        self.network_spec = NetworkSpec(self.network.carry_size, self.network.previous_size > 0)
        self.is_random = uses_rng(self.network, device)
        """Whether the network uses the rng that it is given."""
        self.is_recurrent = self.network.carry_size > 0
        """Whether the network remembers earlier observations of an episode."""
        self.forward: ForwardPass = forward_pass(self.network, device, is_random=self.is_random)
        self.q_values: Callable[..., Floats] = self._first_values if self.is_recurrent else self.forward
        """Action values [K, E, A] of observations [K, E, ...] and an rng.

        A recurrent network takes the observations for the first of their episodes.
        """

    def _first_values(self, obs: Array, rng: NumpyRng | None = None) -> Floats:
        return self.recall()(obs, rng)

    def recall(self) -> Recall:
        """Return action values that remember, for a recurrent network."""
        carry_size, previous_size = self.network.memory_sizes
        return Recall(self.forward, carry_size=carry_size, previous_size=previous_size)

    def actor(self, *, exploration: Uniforms | None = None, noise: NumpyRng | None = None) -> Actor:
        """Return an actor that follows this policy; without `exploration` it is greedy."""
        return Actor(
            q_values=self.recall() if self.is_recurrent else self.q_values,
            num_actions=self.num_actions,
            stack=self.obs.stack,
            padding=self.obs.padding,
            exploration=exploration,
            noise=noise,
        )

    def state_dict(self) -> State:
        return {name: leaf.detach() for name, leaf in self.network.named_parameters()}

    def load_state_dict(self, state: State) -> None:
        copy_leaves(self.network, state)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parameters; the forward pass, which is generated code, is made again."""
        state = {name: leaf.cpu().clone() for name, leaf in self.state_dict().items()}
        return partial(Policy, **self._arguments), (), state

    def __setstate__(self, state: State) -> None:
        self.load_state_dict(state)


def parameter_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return the generators of the seeds' initial parameters."""
    return [torch.Generator().manual_seed(integer(seed, "parameters")) for seed in seeds]


@torch.no_grad()
def copy_leaves(network: nn.Module, state: State) -> None:
    """Copy the tensors of `state` into the parameters of the same names.

    Raises:
        ValueError: the names, shapes or types are not the network's.
    """
    leaves = dict(network.named_parameters())
    check_formats(state, leaves)
    for name, leaf in leaves.items():
        leaf.copy_(state[name])
