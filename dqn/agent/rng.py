"""Random numbers for networks: the noise of layers and the fractions of IQN, from one stream per seed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn.devices import to_device
from dqn.network import QNetwork
from dqn.seeding import get_states, set_states, stream
from dqn.types import Bools, Floats, Rng, Role


class NumpyRng:
    """Random numbers as arrays, for acting. A seed that waits draws none and gets zeros.

    Args:
        seeds: the K seeds.
        name: name of their streams.
        role: use of the network's values.
    """

    def __init__(self, *, seeds: Sequence[int], name: str, role: Role) -> None:
        self.role: Role = role
        self.streams = [stream(seed, name) for seed in seeds]
        self.using: Bools = np.ones(len(seeds), np.bool_)
        """Whether each seed draws [K]."""

    def normal(self, size: int) -> Floats:
        return self._drawn(np.random.Generator.standard_normal, (size,))

    def uniform(self, *shape: int) -> Floats:
        return self._drawn(np.random.Generator.random, shape)

    def _drawn(self, draw: Callable[..., Any], shape: tuple[int, ...]) -> Floats:
        """Return numbers [K, *shape] by `draw`, a method of generators."""
        numbers = np.zeros((len(self.streams), *shape), np.float32)
        for row, generator, using in zip(numbers, self.streams, self.using, strict=True):
            if using:
                draw(generator, dtype=np.float32, out=row)
        return numbers

    def state_dict(self) -> list[dict[str, Any]]:
        return get_states(self.streams)

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        set_states(self.streams, state)


class TorchRng:
    """Random numbers as tensors on a device, for learning; each call sets the role."""

    def __init__(self, source: NumpyRng, device: torch.device) -> None:
        self.source, self.device = source, device
        self.role = source.role

    def normal(self, size: int) -> Tensor:
        return to_device(torch.from_numpy(self.source.normal(size)), self.device)

    def uniform(self, *shape: int) -> Tensor:
        return to_device(torch.from_numpy(self.source.uniform(*shape)), self.device)

    def __call__(self, role: Role) -> Rng:
        """Return this rng, with `role` until the next call."""
        self.role = role
        return self


class Probe:
    """An rng whose numbers are all 0.5, and which records whether it was used."""

    role: Role = "acting"

    def __init__(self, num_seeds: int, device: torch.device) -> None:
        self.num_seeds, self.device, self.is_used = num_seeds, device, False

    def normal(self, size: int) -> Tensor:
        return self.uniform(size)

    def uniform(self, *shape: int) -> Tensor:
        self.is_used = True
        return torch.full((self.num_seeds, *shape), 0.5, device=self.device)


@torch.no_grad()
def uses_rng(network: QNetwork, device: torch.device) -> bool:
    """Return whether a network uses the rng that it is given."""
    num_seeds = next(network.parameters()).shape[0]
    probe = Probe(num_seeds, device)
    obs = np.zeros((num_seeds, 1, *network.obs.stacked_shape), network.obs.dtype)
    given = to_device(torch.from_numpy(obs), device)
    if network.carry_size:
        carry, previous = (torch.zeros(num_seeds, 1, n, device=device) for n in network.memory_sizes)
        network.step(given, carry, previous, probe)
    else:
        network(given, probe)
    return probe.is_used
