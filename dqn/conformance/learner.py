"""Checks of the parts that learn: backup, loss, optimizer and schedules."""

from typing import Any

import torch
from torch import Tensor, nn

from dqn.agent import Agent
from dqn.conformance.assertions import (
    difference,
    require,
    require_close,
    require_equal,
    require_finite,
    require_shape,
)
from dqn.conformance.candidate import SEEDS, Candidate, normal, perturb, random_batch, windows_of
from dqn.types import Batch, Sample

SIZE = 256
"""Samples for the backup; among few of them a small fault may change no best action."""
LR = 1e-2
STEPS = 6
TICKS = (0, 1, 2, 7, 10, 100, 300, 1000, 1400, 5000, 10_000, 50_000, 10**6, 10**9)


class Learner:
    """An agent whose networks differ, and whose random numbers start over at each call."""

    def __init__(self, candidate: Candidate) -> None:
        self.agent: Agent = candidate.agent(SEEDS)
        perturb(self.agent.target, slice(None))
        self._start = self.agent.learning_rng.state_dict()

    @torch.no_grad()
    def backup(self, batch: Batch) -> dict[str, Tensor]:
        """Return the policy [K, B, A] and the bonus [K, B], or the plain values [K, B]."""
        agent = self.agent
        agent.learning_rng.load_state_dict(self._start)
        online, target = (agent.values(network, batch, agent.rng) for network in (agent.online, agent.target))
        q_next = target.valid(target.returns("next_obs", "target").mean(), "next_obs")
        before = q_next.clone()
        valued = agent.backup(batch, q_next, online, target)
        text = "the values q_next that it was given were changed; they are the target network's"
        require_equal(before, q_next, text)
        if isinstance(valued, Tensor):
            require_shape("what it returned", valued, batch.action.shape, ": plain values, one per sample")
            return {"value": valued.clone()}
        policy, bonus = valued
        require_shape("the policy", policy, before.shape)
        bonus = torch.as_tensor(bonus, dtype=torch.float32)
        if bonus.ndim:
            require_shape("the bonus", bonus, batch.action.shape, ": one per sample")
        return {"policy": policy.clone(), "bonus": bonus.expand(batch.action.shape).clone()}

    def losses(self, batch: Batch) -> Tensor:
        """Return the loss of each sample [K, B]."""
        self.agent.learning_rng.load_state_dict(self._start)
        return self.agent.losses(batch, self.agent.rng)[0]


def backup(candidate: Candidate) -> None:
    learner = Learner(candidate)
    batch, others = (random_batch(candidate.spec, SIZE, index) for index in range(2))
    valued = learner.backup(batch)
    for name, numbers in valued.items():
        require_finite(f"the {name}", numbers)
    if "policy" in valued:
        total = valued["policy"].sum(-1)
        require_close(total, torch.ones_like(total), "the probabilities of the policy should sum to 1")
        least = float(valued["policy"].min())
        require(least >= -1e-6, f"a probability is {least:.3g}; it should be at least 0")
    kept: dict[str, Any] = {
        "when it was computed again": ...,
        "when the other samples of the batch did": (slice(None), slice(SIZE // 2)),
        "when the other seed did": 0,
    }
    for change, keep in kept.items():
        mixed = others.filled(each.clone() for each in others.tensors())
        for each, original in zip(mixed.tensors(), batch.tensors(), strict=True):
            each[keep] = original[keep]
        after = learner.backup(mixed)
        for name, numbers in valued.items():
            text = f"the {name} of a sample changed {change}; it should not"
            require_close(after[name][keep], numbers[keep], text)
    check_invalid(learner, batch)
    ends = batch._replace(discount=torch.zeros_like(batch.discount))
    text = "where an episode terminated (discount 0), the loss changed with next_obs, whose value is 0"
    require_close(learner.losses(ends._replace(next_obs=others.next_obs)), learner.losses(ends), text)


def check_invalid(learner: Learner, batch: Batch) -> None:
    """Check the backup where every second action is invalid, except those that were taken."""
    num_actions = learner.agent.policy.num_actions
    mask = torch.zeros(*batch.action.shape, num_actions, dtype=torch.bool)
    mask[..., ::2] = True
    mask.scatter_(-1, batch.action.unsqueeze(-1), True)
    valued = learner.backup(batch._replace(mask=mask, next_mask=mask))
    for name, numbers in valued.items():
        require_finite(f"the {name} where invalid actions have the value -inf", numbers)
    if "policy" in valued:
        most = float(valued["policy"].masked_fill(mask, 0).abs().max())
        require(most == 0, f"an invalid action has the probability {most:.3g}; it should be 0")


def gradient(candidate: Candidate) -> None:
    """Check that the loss depends on every parameter of its seed, on no other seed's and on no target's."""
    learner = Learner(candidate)
    agent = learner.agent
    batch = random_batch(candidate.spec, 32)
    if agent.policy.is_recurrent:
        batch = windows_of(batch, candidate.spec, agent.policy.network_spec)
    names, leaves = zip(*agent.online.named_parameters(), strict=True)
    for k in SEEDS:
        losses = learner.losses(batch)
        require_shape("the loss", losses, batch.action.shape)
        require_finite("the loss", losses)
        slopes = torch.autograd.grad(losses[k].sum(), leaves, allow_unused=True)
        for name, slope in zip(names, slopes, strict=True):
            is_used = slope is not None and bool(slope[k].any())
            require(is_used, f"the loss does not depend on the parameter {name}")
            require_finite(f"the gradient of the parameter {name}", slope)
            text = f"the loss of seed {k} depends on the parameter {name} of another seed"
            require(not slope[1 - k].any(), text)
    update(agent, batch)


def update(agent: Agent, batch: Batch) -> None:
    """Check what one update changes and reports."""
    target, online = (
        {name: leaf.detach().clone() for name, leaf in network.named_parameters()}
        for network in (agent.target, agent.online)
    )
    count = batch.obs.shape[1 if batch.window is None else 2]
    report = agent.update(Sample(batch, torch.ones(len(SEEDS), count), batch.action.numpy()), 1)
    shapes = [batch.action.shape, *[(len(SEEDS),)] * 3]
    for name, value, shape in zip(report._fields, report, shapes, strict=True):
        require_shape(f"{name} of an update", value, shape)
    for name, leaf in agent.target.named_parameters():
        require_equal(leaf, target[name], f"an update changed the parameter {name} of the target network")
    moved = any(difference(leaf, online[name]) for name, leaf in agent.online.named_parameters())
    require(moved or agent.lr_schedule(1) == 0, "an update changed no parameter")


def optimizer(candidate: Candidate) -> None:
    """Check that an optimizer of stacked seeds treats each alone, and that it continues from its state."""
    make = candidate.part("agent.optimizer")
    start, gradients = normal(2, 64), normal(STEPS, 2, 64, index=1)
    gradients[:, 1] *= 100.0

    def run(values: Tensor, slopes: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the values after steps by some slopes, and the optimizer's state."""
        leaf = nn.Parameter(values.clone())
        optimizer = make([leaf], lr=LR)
        if state is not None:
            optimizer.load_state_dict(state)
        for slope in slopes:
            leaf.grad = slope.clone()
            optimizer.step()
        return leaf.detach(), optimizer.state_dict()

    stack, _ = run(start, gradients)
    for k in SEEDS:
        alone, _ = run(start[k : k + 1], gradients[:, k : k + 1])
        text = "the steps of a seed alone differ from those beside another one; they should be elementwise"
        require_close(stack[k], alone[0], text)
    values, state = run(start, gradients[: STEPS // 2])
    resumed, _ = run(values, gradients[STEPS // 2 :], state)
    text = "a new optimizer with the state_dict of this one takes other steps than this one"
    require_equal(resumed, stack, text)


def schedule(candidate: Candidate, key: str) -> None:
    one, other = candidate.part(key), candidate.part(key)
    values = {tick: one(tick) for tick in TICKS}
    for tick, value in values.items():
        right = isinstance(value, int | float) and 0 <= value <= 1
        require(right, f"at tick {tick} it is {value!r}; it should be a number from 0 to 1")
    for order, part, ticks in (("again", one, TICKS), ("in another order", other, TICKS[::-1])):
        for tick in ticks:
            value = part(tick)
            text = f"at tick {tick} it is {values[tick]}, and {value} when the ticks are passed {order}"
            require(value == values[tick], f"{text}; a schedule should depend on the tick alone")
