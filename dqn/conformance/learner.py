"""Checks of what learns: the backup, the gradient, the optimizer, schedules."""

from typing import Any

import torch
from torch import Tensor, nn

from dqn.agent import Agent
from dqn.agent.agent import action_values
from dqn.conformance.assertions import difference, near, require, same
from dqn.conformance.candidate import Candidate, batch_of, normal, perturb
from dqn.types import Batch, Sample

SEEDS = (0, 1)
SIZE = 256
"""Samples of the backup's check: of few, none may have a best action that a small fault changes."""
LR = 1e-2
STEPS = 6
TICKS = (0, 1, 2, 7, 10, 100, 300, 1000, 1400, 5000, 10_000, 50_000, 10**6, 10**9)


class Learner:
    """An agent whose networks differ, on draws that begin anew for each question."""

    def __init__(self, candidate: Candidate) -> None:
        self.agent: Agent = candidate.agent(SEEDS)
        perturb(self.agent.target, slice(None))
        self._beginning = self.agent.learning_draws.state_dict()

    @torch.no_grad()
    def backup(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the policy [K, B, A] and the bonus [K, B]."""
        agent = self.agent
        agent.learning_draws.load_state_dict(self._beginning)
        q_next = agent.target.forward(batch.next_obs, agent.draws("target")).mean()
        before = q_next.clone()
        online, target = (action_values(network, agent.draws) for network in (agent.online, agent.target))
        policy, bonus = agent.backup(batch, q_next, online, target)
        same(
            before, q_next, "the values q_next that it was given were changed; they are the target network's"
        )
        right = (*batch.action.shape, before.shape[-1])
        require(
            tuple(policy.shape) == right,
            f"the policy has shape {list(policy.shape)}; it should be {list(right)}",
        )
        whole = torch.as_tensor(bonus, dtype=torch.float32)
        require(
            whole.ndim == 0 or whole.shape == batch.action.shape,
            f"the bonus has shape {list(whole.shape)}, not {list(batch.action.shape)}: one per sample",
        )
        return policy.clone(), whole.expand(batch.action.shape).clone()

    def losses(self, batch: Batch) -> Tensor:
        self.agent.learning_draws.load_state_dict(self._beginning)
        return self.agent.losses(batch, self.agent.draws)[0]


def backup(candidate: Candidate) -> None:
    learner = Learner(candidate)
    batch, others = (batch_of(candidate.spec, 2, SIZE, place) for place in range(2))
    policy, bonus = learner.backup(batch)
    total = policy.sum(-1)
    near(total, torch.ones_like(total), "the probabilities of the policy should sum to 1")
    require(
        bool((policy >= -1e-6).all()), f"a probability is {float(policy.min()):.3g}; it should be at least 0"
    )
    require(bool(bonus.isfinite().all()), "the bonus is not finite")
    half = (slice(None), slice(SIZE // 2))
    for change, keep in (
        ("when it was asked again", ...),
        ("when the other samples of the batch did", half),
        ("when the other seed did", (0, slice(None))),
    ):
        mixed = Batch(*(field.clone() for field in others))
        for field, kept in zip(mixed, batch, strict=True):
            field[keep] = kept[keep]
        for name, before, after in zip(
            ("policy", "bonus"), (policy, bonus), learner.backup(mixed), strict=True
        ):
            near(after[keep], before[keep], f"the {name} of a sample changed {change}; it should not")
    ends = batch._replace(discount=torch.zeros_like(batch.discount))
    text = "where an episode terminated (discount 0), the loss changed with next_obs, which is worth 0"
    near(learner.losses(ends._replace(next_obs=others.next_obs)), learner.losses(ends), text)


def gradient(candidate: Candidate) -> None:
    """Check that the loss reaches every parameter of its own seed, and none of another's or the target's."""
    learner = Learner(candidate)
    agent = learner.agent
    batch = batch_of(candidate.spec, 2, 32)
    for k in SEEDS:
        losses = learner.losses(batch)
        right = list(batch.action.shape)
        require(list(losses.shape) == right, f"the losses have shape {list(losses.shape)}, not {right}")
        require(bool(losses.isfinite().all()), "the loss is not finite")
        names, leaves = zip(*agent.online.named_parameters(), strict=True)
        for name, slope in zip(
            names, torch.autograd.grad(losses[k].sum(), leaves, allow_unused=True), strict=True
        ):
            require(
                slope is not None and bool(slope[k].any()),
                f"the loss does not depend on the parameter {name}",
            )
            require(bool(slope.isfinite().all()), f"the gradient of the parameter {name} is not finite")
            require(
                not slope[1 - k].any(),
                f"the loss of seed {k} depends on the parameter {name} of another seed",
            )
    update(agent, batch)


def update(agent: Agent, batch: Batch) -> None:
    """Check what one update changes and reports."""
    target = {name: leaf.clone() for name, leaf in agent.target.named_parameters()}
    online = {name: leaf.detach().clone() for name, leaf in agent.online.named_parameters()}
    report = agent.update(Sample(batch, torch.ones_like(batch.reward), batch.action.numpy()), 1)
    right = [tuple(batch.action.shape), *[(len(SEEDS),)] * 3]
    for name, value, shape in zip(report._fields, report, right, strict=True):
        require(value.shape == shape, f"{name} of an update has shape {list(value.shape)}, not {list(shape)}")
    for name, leaf in agent.target.named_parameters():
        same(leaf, target[name], f"an update changed the parameter {name} of the target network")
    moved = [name for name, leaf in agent.online.named_parameters() if difference(leaf, online[name])]
    require(bool(moved) or agent.lr_schedule(1) == 0, "an update changed no parameter")


def optimizer(candidate: Candidate) -> None:
    """Check that an optimizer of stacked seeds is one for each, and goes on from its state."""
    make = candidate.part("agent.optimizer")
    start, gradients = normal(2, 64), normal(STEPS, 2, 64, place=1)
    gradients[:, 1] *= 100.0

    def begin(rows: slice) -> tuple[nn.Parameter, Any]:
        leaf = nn.Parameter(start[rows].clone())
        return leaf, make([leaf], lr=LR)

    def go(leaf: nn.Parameter, optimizer: Any, steps: slice, rows: slice) -> None:
        for slope in gradients[steps, rows]:
            leaf.grad = slope.clone()
            optimizer.step()

    both, all_steps = slice(0, 2), slice(0, STEPS)
    stack, ours = begin(both)
    go(stack, ours, all_steps, both)
    for k in SEEDS:
        row = slice(k, k + 1)
        alone, own = begin(row)
        go(alone, own, all_steps, row)
        text = "a seed alone is moved otherwise than beside another; it should be elementwise"
        near(stack[k], alone[0], text)
    first, before = begin(both)
    go(first, before, slice(0, STEPS // 2), both)
    second, after = begin(both)
    second.data.copy_(first.data)
    after.load_state_dict(before.state_dict())
    go(second, after, slice(STEPS // 2, STEPS), both)
    same(second, stack, "with its state_dict loaded into a new one, an optimizer goes on otherwise")


def schedule(candidate: Candidate, place: str) -> None:
    one, other = candidate.part(place), candidate.part(place)
    values = [one(tick) for tick in TICKS]
    for tick, value in zip(TICKS, values, strict=True):
        right = isinstance(value, int | float) and 0 <= value <= 1
        require(right, f"at tick {tick} it is {value!r}; it should be a number from 0 to 1")
    again = [other(tick) for tick in reversed(TICKS)][::-1]
    for asked, found in (("again", [one(tick) for tick in TICKS]), ("in another order", again)):
        for tick, value, before in zip(TICKS, found, values, strict=True):
            text = f"at tick {tick} it is {before}, and {value} when the ticks are asked {asked}"
            require(value == before, f"{text}; a schedule should depend on the tick alone")
