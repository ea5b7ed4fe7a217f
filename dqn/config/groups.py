"""The arguments that the program passes to the part of each group, read by the schema and its tests."""

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from dqn.agent import Agent
from dqn.agent.optimizer import MakeOptimizer
from dqn.env import Environments
from dqn.memory import ReplayMemory
from dqn.memory.protocols import MakeReader, MakeSampler
from dqn.network import MakeCell
from dqn.network.protocols import MakeHead, MakeLayer, MakeNetwork, MakeStreams, MakeTorso
from dqn.types import EnvSpec, NetworkSpec


class MakeEnvironments(Protocol):
    """Makes the environments of all seeds."""

    def __call__(self, *, seeds: Sequence[int], role: str, training: bool) -> Environments: ...


class MakeMemory(Protocol):
    """Makes the memory of all seeds."""

    def __call__(
        self,
        *,
        gamma: float,
        spec: EnvSpec,
        seeds: Sequence[int],
        num_envs: int,
        device: torch.device,
        network: NetworkSpec,
    ) -> ReplayMemory: ...


class MakeAgent(Protocol):
    """Makes the agent of all seeds."""

    def __call__(
        self,
        *,
        network: MakeNetwork,
        planned_updates: int,
        spec: EnvSpec,
        seeds: Sequence[int],
        num_envs: int,
        device: torch.device,
    ) -> Agent: ...


MAKERS: dict[str, Any] = {
    "env": MakeEnvironments,
    "network": MakeNetwork,
    "network.torso": MakeTorso,
    "network.torso.encoder": MakeTorso,
    "network.torso.cell": MakeCell,
    "network.streams": MakeStreams,
    "network.head": MakeHead,
    "network.layer": MakeLayer,
    "memory": MakeMemory,
    "memory.reader": MakeReader,
    "memory.sampler": MakeSampler,
    "agent": MakeAgent,
    "agent.optimizer": MakeOptimizer,
}
"""Groups whose option is a factory, and the protocol whose `__call__` arguments the program passes to it."""

OBJECTS = ("schedule", "runner", "agent.backup", "agent.lr_schedule", "memory.sampler.beta")
"""Groups whose part is made from its own keys alone."""
PLUGIN_OBJECTS = ("hydra.sweeper.sampler", "hydra.sweeper.pruner")

GIVEN: dict[str, frozenset[str]] = {
    **{
        key: frozenset(inspect.signature(maker.__call__).parameters) - {"self"}
        for key, maker in MAKERS.items()
    },
    **dict.fromkeys((*OBJECTS, *PLUGIN_OBJECTS), frozenset()),
}
"""Arguments that the program passes to the part of each group; they are not keys."""

OFFERED = {
    "network.torso": frozenset({"vector_size", "previous_size"}),
    "network.torso.encoder": frozenset({"vector_size"}),
}
"""Arguments that the program passes to the part of a group if it takes them."""

SOURCES = {
    "gamma": "agent.gamma",
    "lr": "agent.lr",
    "num_envs": "env.num_envs",
    "seeds": "seed and num_seeds",
    "device": "device",
    "network": "network",
    "layer": "network.layer",
}
"""The keys that set these arguments; a user may look for them in the wrong group."""
