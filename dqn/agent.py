"""The agent: it acts by its online network and learns from samples, for K seeds in lock step."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dqn.backup import ActionValues, Backup
from dqn.compiled import CompiledGradient, repays
from dqn.draws import NumpyDraws, TorchDraws, draws_numbers
from dqn.inference import numpy_forward
from dqn.network import QNetwork, flatten
from dqn.optimizer import Optimizer
from dqn.schedule import Schedule
from dqn.seeding import Uniforms, integer, stream
from dqn.types import (
    Array,
    Batch,
    Bools,
    Draws,
    EnvSpec,
    Floats,
    Integers,
    Positive,
    Probability,
    Purpose,
    Sample,
    Update,
)

State = dict[str, Any]
MakeNetwork = Callable[..., QNetwork]
LearningDraws = Callable[[Purpose], Draws]
"""Draws for each purpose of an update."""


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
        self.is_random = draws_numbers(self.network, device)
        """Whether the network uses random numbers where it gets some."""
        self.q_values = numpy_forward(self.network, is_random=self.is_random) or self._torch_forward
        """Action values [K, E, A] of observations [K, E, ...] and, if the network is to vary, NumpyDraws."""

    @torch.inference_mode()
    def _torch_forward(self, obs: Array, draws: NumpyDraws | None = None) -> Floats:
        numbers = None if draws is None else TorchDraws(draws, self.device)
        values: Floats = self.network(torch.from_numpy(obs).to(self.device), numbers).mean().cpu().numpy()
        return values

    def act(self, obs: Array, epsilon: float, uniforms: Floats, draws: NumpyDraws | None = None) -> Integers:
        """Return epsilon-greedy actions [K, E]: any of all actions with probability epsilon, else the best.

        Args:
            obs: observations [K, E, ...].
            epsilon: the probability.
            uniforms: two numbers in [0, 1) for each, [K, E, 2]: whether to explore, and where.
            draws: for a network that varies; without them it does not.
        """
        explores = uniforms[..., 0] < epsilon
        count = np.count_nonzero(explores)
        if count == 0:
            return self.greedy(obs, draws)
        anywhere: Integers = (uniforms[..., 1] * self.num_actions).astype(np.int64)
        if count == explores.size and draws is None:  # how much is drawn must not hang on other seeds
            return anywhere
        return np.where(explores, anywhere, self.greedy(obs, draws))

    def greedy(self, obs: Array, draws: NumpyDraws | None = None) -> Integers:
        """Return the first of the best actions [K, E] for observations [K, E, ...]."""
        best: Integers = self.q_values(obs, draws).argmax(-1)
        return best

    def state_dict(self) -> State:
        return {name: leaf.detach() for name, leaf in self.network.named_parameters()}

    def load_state_dict(self, state: State) -> None:
        copy_leaves(self.network, state)


class Agent:
    """Deep Q-learning: Mnih et al. (2015), with the backup and the return distribution that it is given.

    Args:
        network: makes the Q-network, online and target.
        backup: how the next state is valued.
        optimizer: makes an optimizer of the parameters of all seeds; it must be elementwise.
        lr: its learning rate.
        lr_schedule: the share of `lr` at each tick.
        gamma: discount of one step.
        max_grad_norm: each seed's gradient is scaled down to this norm; None: never.
        compile: whether to compile the update; "auto": where the planned updates repay it.
        planned_updates: of the whole run.
        spec: observations and actions.
        seeds: the K seeds.
        num_envs: environments per seed, E.
        device: where the networks compute.
    """

    def __init__(
        self,
        *,
        network: MakeNetwork,
        backup: Backup,
        optimizer: Callable[..., Optimizer],
        lr: Positive,
        lr_schedule: Schedule,
        gamma: Probability,
        max_grad_norm: Positive | None,
        compile: bool | Literal["auto"],
        planned_updates: int,
        spec: EnvSpec,
        seeds: Sequence[int],
        num_envs: int,
        device: torch.device,
    ) -> None:
        self.policy = Policy(network=network, spec=spec, seeds=seeds, device=device)
        target = Policy(network=network, spec=spec, seeds=seeds, device=device)
        self.online, self.target = self.policy.network, target.network.requires_grad_(False)
        self._parameters, self._target_parameters = self.policy.parameters, target.parameters.value
        self.backup = backup
        self.gamma = gamma
        self.lr, self.lr_schedule = lr, lr_schedule
        self.max_grad_norm = max_grad_norm
        self.acting_draws = NumpyDraws(seeds=seeds, name="acting", purpose="acting")
        self.learning_draws = NumpyDraws(seeds=seeds, name="learning", purpose="prediction")
        self.draws = TorchDraws(self.learning_draws, device)
        self.exploration = Uniforms([stream(seed, "exploration") for seed in seeds], (num_envs, 2))
        leaf = nn.Parameter(self._parameters.value)
        leaf.grad = self._parameters.gradient
        self.optimizer = optimizer([leaf], lr=lr)
        self._choose(repays(planned_updates, len(seeds)) if compile == "auto" else compile)

    def _choose(self, compiles: bool) -> None:
        """Let updates be compiled or not; which it is stays so when a run is resumed."""
        self.compiles = compiles
        self._gradient = (
            CompiledGradient(self.gradient, self.draws)
            if compiles
            else partial(self.gradient, draws=self.draws)
        )

    def act(self, obs: Array, epsilon: float, active: Bools) -> Integers:
        """Return actions [K, E] for observations [K, E, ...]; a seed that waits draws nothing."""
        using = active[:, 0]
        self.acting_draws.using = using
        draws = self.acting_draws if self.policy.is_random else None
        return self.policy.act(obs, epsilon, self.exploration.next(using), draws)

    def update(self, sample: Sample, tick: int) -> Update:
        """Take one optimizer step on each seed's mean loss, at the learning rate of `tick`."""
        priority, report = self._gradient(sample.batch, sample.weight)
        self.optimizer.param_groups[0]["lr"] = self.lr * self.lr_schedule(tick)
        self.optimizer.step()
        return Update(priority.cpu().numpy(), *report.cpu().numpy())

    def gradient(self, batch: Batch, weight: Tensor, draws: LearningDraws) -> tuple[Tensor, Tensor]:
        """Set each seed's gradient of its mean weighted loss, clipped.

        Returns:
            The priorities [K, B], and [3, K]: the loss, the mean value of taken actions, the gradient's norm.
        """
        losses, priority, q = self.losses(batch, draws)
        loss = (losses * weight).mean(-1)
        gradient = self._parameters.set_gradient(torch.autograd.grad(loss.sum(), self._parameters.leaves))
        norm = torch.linalg.vector_norm(gradient, dim=1)
        if self.max_grad_norm is not None:
            scale = (self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
            gradient.mul_(scale.unsqueeze(1))
        return priority, torch.stack((loss.detach(), q, norm))

    def losses(self, batch: Batch, draws: LearningDraws) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss and the priority of each sample [K, B], and the mean value of taken actions [K]."""
        prediction = self.online(batch.obs, draws("prediction")).at(batch.action)
        with torch.no_grad():
            following = self.target(batch.next_obs, draws("target"))
            online, target = (action_values(network, draws) for network in (self.online, self.target))
            policy, bonus = self.backup(batch, following.mean(), online, target)
            goal = following.mix(policy).shift(batch.reward + bonus, batch.discount)
            q = prediction.mean().mean(-1)
            priority = prediction.priority(goal)
        return prediction.loss(goal), priority, q

    def sync_target(self, tau: float) -> None:
        """Move the target network to tau * online + (1 - tau) * target; at tau = 1 that is a copy."""
        self._target_parameters.lerp_(self._parameters.value, tau)

    def state_dict(self) -> State:
        """Return what learning needs beyond the policy."""
        return {
            "compiles": self.compiles,
            "target": {name: leaf.detach() for name, leaf in self.target.named_parameters()},
            "optimizer": self.optimizer.state_dict(),
            "exploration": self.exploration.state_dict(),
            "acting_draws": self.acting_draws.state_dict(),
            "learning_draws": self.learning_draws.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        self._choose(state["compiles"])
        copy_leaves(self.target, state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.exploration.load_state_dict(state["exploration"])
        self.acting_draws.load_state_dict(state["acting_draws"])
        self.learning_draws.load_state_dict(state["learning_draws"])


def action_values(network: QNetwork, draws: LearningDraws) -> ActionValues:
    """Return the network's values [K, B, A] as a function of observations, by draws for an action."""
    return lambda obs: network(obs, draws("action")).mean()


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
