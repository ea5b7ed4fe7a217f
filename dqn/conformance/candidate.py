"""The configuration whose parts are examined, and random inputs for these parts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dqn.agent import Agent
from dqn.agent.policy import parameter_generators
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.env import EnvFactory
from dqn.runner import Runner
from dqn.runner.progress import RunProgress
from dqn.seeding import stream
from dqn.storage.flatten import entries, replaced
from dqn.tracking.progress import LogLines
from dqn.types import Array, Batch, EnvSpec, NetworkSpec, ObsSpec, Role, Window

Config = dict[str, Any]

CPU = torch.device("cpu")
SEEDS = (0, 1)
WINDOW_STEPS = 4
"""Steps of random windows after a burn-in of one step."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A checked configuration whose parts are examined, and the functions that make them.

    Args:
        config: the configuration.
        factory: of its environment.
        make: returns the object that a node of the configuration describes.
        build: returns the runner of a configuration in a folder.
    """

    config: Config
    factory: EnvFactory
    make: Callable[[Any], Any]
    build: Callable[[Config, Path], Runner]

    def node(self, key: str) -> Any:
        """Return the value of a dotted key, None if the configuration lacks it."""
        return next((value for path, _, value in entries(self.config) if path == key), None)

    def target(self, key: str) -> str:
        """Return the name of a part's class or function, or those of a list; empty if there is none."""
        node = self.node(key)
        nodes = node if isinstance(node, list) else [node]
        return ", ".join(str(one.get("_target_", "")) for one in nodes if isinstance(one, dict))

    def part(self, key: str) -> Any:
        """Return a new instance of a part."""
        return self.make(self.node(key))

    def runner(self, folder: Path, values: Mapping[str, Any]) -> Runner:
        """Return a runner without progress bar, with other values at some dotted keys."""
        config = self.config
        for key, value in values.items():
            config = replaced(config, key, value)
        runner = self.build(config, folder)
        runner.progress = RunProgress(LogLines(unit="step", total=0, silence=math.inf))
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


def normal(*shape: int, index: int = 0) -> Tensor:
    """Return the standard normal numbers [*shape] with this index."""
    return torch.from_numpy(stream(0, "check numbers", index).standard_normal(shape).astype(np.float32))


def make_rng(seeds: Sequence[int], role: Role) -> TorchRng:
    """Return an rng of these seeds at its start."""
    return TorchRng(NumpyRng(seeds=seeds, name="check", role=role), CPU)


def observations(spec: ObsSpec, *shape: int, index: int = 0) -> Array:
    """Return the random observations [*shape, ...] with this index, as the network reads them."""
    generator = stream(0, "check observations", index)
    whole = (*shape, *spec.stacked_shape)
    if np.issubdtype(spec.dtype, np.floating):
        return generator.standard_normal(whole).astype(spec.dtype)
    high = spec.num_categories or (2 if spec.scale == 1 else 256)
    return generator.integers(high, size=whole).astype(spec.dtype)


def random_batch(spec: EnvSpec, size: int, index: int = 0) -> Batch:
    """Return the random batch of both seeds with this index; a third of its samples end an episode."""
    generator = stream(0, "check batch", index)
    shape = (len(SEEDS), size)
    discount = np.where(np.arange(size) % 3 == 2, 0.0, 0.9).astype(np.float32)
    return Batch(
        obs=torch.from_numpy(observations(spec.obs, *shape, index=2 * index)),
        action=torch.from_numpy(generator.integers(spec.num_actions, size=shape)),
        reward=torch.from_numpy(generator.standard_normal(shape).astype(np.float32)),
        discount=torch.from_numpy(np.tile(discount, (len(SEEDS), 1))),
        next_obs=torch.from_numpy(observations(spec.obs, *shape, index=2 * index + 1)),
    )


def windows_of(batch: Batch, spec: EnvSpec, network: NetworkSpec) -> Batch:
    """Return random windows with the transitions of a batch, for a recurrent network, with a burn-in."""
    num_seeds, size = batch.action.shape
    count = size // WINDOW_STEPS
    steps = (num_seeds, WINDOW_STEPS + 2, count)
    following = (torch.arange(size) + count).expand(num_seeds, -1)
    window = Window(
        following=following,
        share=torch.ones(num_seeds, size),
        exists=torch.ones(num_seeds, 1, count),
        carry=normal(num_seeds, count, network.carry_size),
        previous=normal(*steps, spec.num_actions + 1) if network.sees_action else None,
    )
    obs = torch.from_numpy(observations(spec.obs, *steps))
    return batch._replace(obs=obs, next_obs=None, window=window)


@torch.no_grad()
def perturb(module: nn.Module, k: int | slice) -> None:
    """Change all parameters of seed k."""
    for index, leaf in enumerate(module.parameters()):
        leaf[k] += 0.1 * normal(*leaf[k].shape, index=index)
