"""What is examined: a checked configuration, and how its parts are made."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dqn.agent import Agent
from dqn.agent.policy import parameter_generators
from dqn.agent.rng import NumpyDraws, TorchDraws
from dqn.env import EnvFactory
from dqn.runner import Runner
from dqn.seeding import stream
from dqn.types import Array, Batch, EnvSpec, ObsSpec, Purpose

Config = dict[str, Any]

CPU = torch.device("cpu")
MISSING = object()


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A checked configuration, and how its parts are made."""

    config: Config
    factory: EnvFactory
    make: Callable[[Any], Any]
    """A node to its object."""
    build: Callable[[Config, Path], Runner]
    """A configuration and a folder to a runner."""

    def node(self, place: str) -> Any:
        """Return what stands at a dotted place, MISSING if nothing does."""
        node: Any = self.config
        for name in place.split("."):
            node = node.get(name, MISSING) if isinstance(node, dict) else MISSING
        return node

    def target(self, place: str) -> str:
        """Return the name of a part's class or function, empty where there is no part."""
        node = self.node(place)
        return str(node.get("_target_", "")) if isinstance(node, dict) else ""

    def part(self, place: str) -> Any:
        """Return a part, made anew."""
        return self.make(copy.deepcopy(self.node(place)))

    def runner(self, folder: Path, values: Mapping[str, Any]) -> Runner:
        """Return the runner of the configuration with other values at dotted keys; it has no bar."""
        config = copy.deepcopy(self.config)
        for key, value in values.items():
            *path, name = key.split(".")
            node = config
            for step in path:
                node = node[step]
            node[name] = value
        folder.mkdir(parents=True, exist_ok=True)
        runner = self.build(config, folder)
        runner.bar = None
        return runner

    @property
    def spec(self) -> EnvSpec:
        return self.factory.spec

    def agent(self, seeds: Sequence[int]) -> Agent:
        agent: Agent = self.part("agent")(
            network=self.part("network"),
            planned_updates=0,
            spec=self.spec,
            seeds=seeds,
            num_envs=1,
            device=CPU,
        )
        return agent

    def network(self, seeds: Sequence[int]) -> Any:
        return self.part("network")(spec=self.spec, generators=parameter_generators(seeds))


def normal(*shape: int, place: int = 0) -> Tensor:
    """Return standard normal numbers; another place gives others."""
    return torch.from_numpy(stream(0, "check numbers", place).standard_normal(shape).astype(np.float32))


def draws(seeds: Sequence[int], purpose: Purpose) -> TorchDraws:
    """Return draws of these seeds from their beginning."""
    return TorchDraws(NumpyDraws(seeds=seeds, name="check", purpose=purpose), CPU)


def observations(spec: ObsSpec, *shape: int, place: int = 0) -> Array:
    """Return random observations [*shape, ...]; another place gives others."""
    generator = stream(0, "check observations", place)
    whole = (*shape, *spec.shape)
    if np.issubdtype(spec.dtype, np.floating):
        return generator.standard_normal(whole).astype(spec.dtype)
    high = spec.num_categories or (2 if spec.scale == 1 else 256)
    return generator.integers(high, size=whole).astype(spec.dtype)


def batch_of(spec: EnvSpec, num_seeds: int, size: int, place: int = 0) -> Batch:
    """Return a random batch, a third of it ends of episodes; another place gives another."""
    generator = stream(0, "check batch", place)
    shape = (num_seeds, size)
    discount = np.where(np.arange(size) % 3 == 2, 0.0, 0.9)
    return Batch(
        obs=torch.from_numpy(observations(spec.obs, *shape, place=2 * place)),
        action=torch.from_numpy(generator.integers(spec.num_actions, size=shape)),
        reward=torch.from_numpy(generator.standard_normal(shape).astype(np.float32)),
        discount=torch.from_numpy(np.tile(discount.astype(np.float32), (num_seeds, 1))),
        next_obs=torch.from_numpy(observations(spec.obs, *shape, place=2 * place + 1)),
    )


@torch.no_grad()
def perturb(module: nn.Module, k: int | slice) -> None:
    """Change all parameters of seed k."""
    for place, leaf in enumerate(module.parameters()):
        leaf[k] += 0.1 * normal(*leaf[k].shape, place=place)
