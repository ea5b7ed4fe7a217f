"""The agent: acts by its online network and learns from samples, for K seeds in lock step."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from dqn.agent.backup import Backup, target_of
from dqn.agent.compile_cache import description, obstacle
from dqn.agent.compiled_update import CannotCompile, CompiledGradient, GradientStep, LearningRng, repays
from dqn.agent.optimizer import MakeOptimizer
from dqn.agent.policy import Policy, State, copy_leaves
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.agent.values import TransitionValues
from dqn.network import MakeNetwork, QNetwork
from dqn.process import float32_by_default
from dqn.schedule import Schedule
from dqn.seeding import Uniforms, stream
from dqn.storage.flatten import leaves
from dqn.types import Batch, EnvSpec, Positive, Probability, Sample, Update

log = logging.getLogger(__name__)


class Agent:
    """Deep Q-learning with any backup and return distribution. Mnih et al. (2015), algorithm 1.

    Args:
        network: makes the Q-network, online and target.
        backup: how the next state is valued.
        optimizer: makes an optimizer of the parameters of all seeds; it must be elementwise.
        lr: learning rate.
        lr_schedule: factor of `lr` at each tick.
        gamma: discount of one step.
        max_grad_norm: largest norm of each seed's gradient; larger ones are scaled to it. None: no limit.
        compile: whether to compile the update; "auto": if that is possible and saves time over the
            planned updates.
        precision: numbers of the products of torso and core in updates. Everything else is float32:
            parameters, optimizer, heads, loss and acting.
        planned_updates: updates of the whole run.
        spec: observations and actions.
        seeds: the K seeds.
        num_envs: environments per seed, E.
        device: where the networks compute.
    """

    @float32_by_default()
    def __init__(
        self,
        *,
        network: MakeNetwork,
        backup: Backup,
        optimizer: MakeOptimizer,
        lr: Positive,
        lr_schedule: Schedule,
        gamma: Probability,
        max_grad_norm: Positive | None,
        compile: bool | Literal["auto"],
        precision: Literal["float32", "bfloat16"],
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
        self._precision = precision
        self.learning_rng = NumpyRng(seeds=seeds, name="learning", role="prediction")
        self.rng = TorchRng(self.learning_rng, device)
        self.actor = self.policy.actor(
            exploration=Uniforms([stream(seed, "exploration") for seed in seeds], (num_envs, 2)),
            noise=NumpyRng(seeds=seeds, name="acting", role="acting") if self.policy.is_random else None,
        )
        leaf = nn.Parameter(self._parameters.value)
        leaf.grad = self._parameters.gradient
        self.optimizer = optimizer([leaf], lr=lr)
        self._may_fall_back = compile == "auto"
        if compile == "auto":
            is_recurrent = self.policy.is_recurrent
            compile = repays(planned_updates, len(seeds), spec.obs, device, is_recurrent=is_recurrent)
        self._set_compiles(compile)
        if self.compiles and self._may_fall_back and (problem := obstacle(device)):
            self._fall_back(problem)

    def _fall_back(self, problem: str) -> None:
        log.warning("warning: agent.compile=auto: updates are not compiled: %s", problem)
        self._set_compiles(False)

    def _set_compiles(self, compiles: bool) -> None:
        """Set whether updates are compiled, which stays the same when a run is resumed."""
        self.compiles = compiles
        self._gradient: GradientStep = partial(self.gradient, rng=self.rng)
        if not compiles:
            return
        networks = self.online, self.target
        constants = (tensor for each in networks for tensor in (*each.parameters(), *each.buffers()))
        self._gradient = CompiledGradient(
            self.gradient,
            self.rng,
            tensors=[*constants, self._parameters.gradient],
            described=description([type(self), *networks, self.backup, self.max_grad_norm, self._precision]),
        )

    @float32_by_default()
    def update(self, sample: Sample, tick: int) -> Update:
        """Take one optimizer step on each seed's mean loss, at the learning rate of `tick`."""
        with torch.enable_grad():
            try:
                priority, report = self._gradient(sample.batch, sample.weight)
            except CannotCompile as error:  # at the first update
                if not self._may_fall_back:
                    raise
                self._fall_back(error.problem)
                priority, report = self._gradient(sample.batch, sample.weight)
        self.optimizer.param_groups[0]["lr"] = self.lr * self.lr_schedule(tick)
        self.optimizer.step()  # its parameter's .grad is the buffer that _gradient filled
        return Update(priority.cpu().numpy(), *report.cpu().numpy())

    def gradient(self, batch: Batch, weight: Tensor, rng: LearningRng) -> tuple[Tensor, Tensor]:
        """Set each seed's gradient of its mean weighted loss, clipped.

        Returns:
            The priorities [K, B], and [3, K]: loss, mean value of the taken actions, norm of the gradient.
        """
        losses, priority, q = self.losses(batch, rng)
        loss = (of_samples(losses, batch) * weight).mean(-1)
        gradient = self._parameters.set_gradient(torch.autograd.grad(loss.sum(), self._parameters.leaves))
        norm = torch.linalg.vector_norm(gradient, dim=1)
        if self.max_grad_norm is not None:
            scale = (self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
            gradient.mul_(scale.unsqueeze(1))
        return priority, torch.stack((loss.detach(), q, norm))

    def losses(self, batch: Batch, rng: LearningRng) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss and priority of each transition [K, B], and the mean value of the taken actions [K]."""
        online, target = (self.values(network, batch, rng) for network in (self.online, self.target))
        prediction = online.returns("obs", "prediction").at(batch.action)
        with torch.no_grad():
            following = target.returns("next_obs", "target")
            q_next = target.valid(following.mean(), "next_obs")
            valued = self.backup(batch, q_next, online, target)
            goal = target_of(valued, batch, following)
            q = of_samples(prediction.mean(), batch).mean(-1)
            priority = prediction.priority(goal)
        return prediction.loss(goal), priority, q

    def values(self, network: QNetwork, batch: Batch, rng: LearningRng) -> TransitionValues:
        """Return the values of a batch's states by one of the networks."""
        return TransitionValues(network, batch, rng, self._precision == "bfloat16")

    def sync_target(self, tau: float) -> None:
        """Move the target network to tau * online + (1 - tau) * target; tau = 1 copies the online network."""
        self._target_parameters.lerp_(self._parameters.value, tau)

    def state_dict(self) -> State:
        """Return the state of learning, which the online network's parameters are not part of."""
        return {
            "compiles": self.compiles,
            "target": {name: leaf.detach() for name, leaf in self.target.named_parameters()},
            "optimizer": self.optimizer.state_dict(),
            "actor": self.actor.state_dict(),
            "learning_rng": self.learning_rng.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        if not isinstance(state["compiles"], bool):
            raise ValueError(f"compiles is {state['compiles']!r}")
        self._set_compiles(state["compiles"])
        self._may_fall_back = False  # or the rest of the run would round differently
        copy_leaves(self.target, state["target"])
        self._check_optimizer(state["optimizer"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.actor.load_state_dict(state["actor"])
        self.learning_rng.load_state_dict(state["learning_rng"])

    def _check_optimizer(self, state: State) -> None:
        """Raise ValueError unless a state has the settings of this optimizer and tensors that fit."""
        settings = [
            [{**group, "lr": None} for group in each.get("param_groups", ())]
            for each in (state, self.optimizer.state_dict())
        ]
        shapes = {tuple(leaf.shape) for _, leaf in leaves(state) if isinstance(leaf, Tensor)}
        if settings[0] != settings[1] or not shapes <= {(), (1,), tuple(self._parameters.value.shape)}:
            raise ValueError("the optimizer has other settings or parameters")


def of_samples(numbers: Tensor, batch: Batch) -> Tensor:
    """Return numbers of transitions [K, B], of windows [K, T * B], as one for each sample [K, B].

    That of a window is such that the mean over windows is the mean over all of their valid steps.
    """
    if batch.window is None:
        return numbers
    count = batch.window.following.shape[1] // batch.obs.shape[2]
    return torch.unflatten(numbers * batch.window.share, 1, (count, -1)).mean(1)
