"""Updates of recurrent networks on windows, by hand; and with every head and backup."""

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from heads import HEADS, LINEAR, NOISY, SINGLE
from torch import Tensor

from dqn.agent import Agent
from dqn.agent.backup import Double, Greedy, Munchausen
from dqn.agent.numpy_forward import TorchForward
from dqn.agent.optimizer import Adam
from dqn.memory import Prioritized, ReplayMemory, Sequences, Uniform
from dqn.network import GRU, LSTM, MLP, DuelingStreams, QNetwork
from dqn.network.parameters import views
from dqn.schedule import Constant
from dqn.types import Batch, EnvSpec, ObsSpec, Row, Window

SPEC = EnvSpec(ObsSpec((4,), np.dtype(np.float32), 0, 1.0), 3, None)
CPU = torch.device("cpu")
BACKUPS = {
    "greedy": Greedy(),
    "double": Double(),
    "munchausen": Munchausen(temperature=0.1, alpha=0.9, clip=-1.0),
}
VALID = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0]]).bool()
"""Steps of three windows [T, B]: the second episode is truncated after two, the third terminates."""
FOLLOWING = torch.tensor([[2, 2, 1], [3, 2, 1], [4, 3, 2], [4, 4, 3]])
DISCOUNT = torch.tensor([[0.81, 0.81, 0], [0.81, 0.9, 0.5], [0.81, 0.9, 0.5], [0.9, 0.9, 0.5]])


def make(*, backup: Any = BACKUPS["greedy"], **parts: Any) -> Agent:
    torso = partial(MLP, hidden_sizes=[8], activation="relu", layer_norm=False)
    network = {
        **dict.fromkeys(("obs_low", "obs_high")),
        **{"obs_scale": "auto", "sees_action": True, "torso": torso, "core": partial(GRU, units=6)},
        **{"streams": SINGLE, "layer": LINEAR, "head": HEADS["expected"]},
    }
    agent = Agent(
        network=partial(QNetwork, **(network | parts)),
        backup=backup,
        optimizer=partial(Adam, betas=(0.9, 0.999), eps=1e-8),
        **{"lr": 1e-2, "lr_schedule": Constant(value=1.0), "gamma": 0.9, "max_grad_norm": None},
        **{"compile": False, "precision": "float32", "planned_updates": 1},
        **{"spec": SPEC, "seeds": (0, 1), "num_envs": 2, "device": CPU},
    )
    agent._target_parameters.add_(0.2 * torch.randn(agent._target_parameters.shape, generator=numbers()))
    return agent


def numbers() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def windows(agent: Agent) -> Batch:
    """Return three windows of four steps for each seed, two steps of burn-in before them."""
    normal = partial(torch.randn, generator=numbers())

    def flat(x: Tensor) -> Tensor:
        return x.expand(2, *x.shape).reshape(2, -1)

    return Batch(
        obs=normal(2, 7, 3, 4),
        action=torch.randint(3, (2, 12), generator=numbers()),
        reward=normal(2, 12),
        discount=flat(DISCOUNT),
        next_obs=None,
        window=Window(
            following=flat(FOLLOWING * 3 + torch.arange(3)),
            share=flat(VALID / VALID.float().mean()),
            exists=torch.tensor([[1.0, 0, 0], [1, 1, 0]]).expand(2, 2, 3),
            carry=normal(2, 3, agent.online.carry_size),
            previous=normal(2, 7, 3, 4),
        ),
    )


def values_by_hand(network: QNetwork, batch: Batch) -> Tensor:
    """Return the values of all observations from the window on [K, T + 1, B, A], step by step."""
    window, found = batch.window, []
    assert window is not None
    carry = window.carry
    for t in range(batch.obs.shape[1]):
        returns, carry = network.step(batch.obs[:, t], carry, window.previous[:, t])
        if t < 2:
            carry = carry.detach() * window.exists[:, t].unsqueeze(-1)
        else:
            found.append(returns.mean())
    return torch.stack(found, 1)


@pytest.mark.parametrize("core", [GRU, LSTM])
@pytest.mark.parametrize("backup", ["greedy", "double"])
def test_loss_gradient_and_priorities_by_hand(backup, core):
    agent = make(backup=BACKUPS[backup], core=partial(core, units=6))
    batch, weight = windows(agent), torch.tensor([[0.5, 1.0, 0.8], [1.0, 0.2, 0.7]])
    online = values_by_hand(agent.online, batch)
    with torch.no_grad():
        target = values_by_hand(agent.target, batch)
    chooser = online if backup == "double" else target
    losses, errors = torch.zeros(2), torch.zeros(2, 4, 3)
    for k, j, b in itertools.product(range(2), range(4), range(3)):
        if not VALID[j, b]:
            continue
        flat, end = 3 * j + b, FOLLOWING[j, b]
        best = chooser[k, end, b].argmax()
        goal = batch.reward[k, flat] + DISCOUNT[j, b] * target[k, end, b, best]
        value = online[k, j, b, batch.action[k, flat]]
        loss = torch.nn.functional.huber_loss(value, goal, delta=1.0)
        losses[k] += weight[k, b] * loss / VALID.sum()
        errors[k, j, b] = (value - goal).abs()
    leaves = list(agent.online.parameters())
    expected = torch.autograd.grad(losses.sum(), leaves)
    priority, report = agent.gradient(batch, weight, agent.rng)
    torch.testing.assert_close(report[0], losses.detach(), atol=1e-6, rtol=1e-5)
    counted = priority.reshape(2, 4, 3) * VALID
    torch.testing.assert_close(counted, errors.detach(), atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(views(agent._parameters.gradient, leaves), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("backup", BACKUPS)
def test_padding_changes_nothing(backup):
    """Neither what is reported nor the gradient, to the bit."""
    agent = make(backup=BACKUPS[backup])
    batch, weight = windows(agent), torch.ones(2, 3)
    other = batch.filled([tensor.clone() for tensor in batch.tensors()])
    for t, b in itertools.product(range(5), range(3)):
        if t > VALID[:, b].sum():  # later than the episode's last observation
            other.obs[:, 2 + t, b], other.window.previous[:, 2 + t, b] = 7.0, -5.0
    is_padding = (~VALID).flatten()
    other.action[:, is_padding] = 1
    other.reward[:, is_padding], other.discount[:, is_padding] = 50.0, 0.7
    results = []
    for one in (batch, other):
        priority, report = agent.gradient(one, weight, agent.rng)
        gradient = agent._parameters.gradient.clone()
        results.append([priority[:, ~is_padding], report, gradient])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)
    assert (results[0][2] != 0).any()


@pytest.mark.parametrize("core", [GRU, LSTM])
def test_a_first_step_is_a_feed_forward_update(core):
    """Of a window that starts with its episode; what follows counts for nothing after a termination."""
    agent = make(core=partial(core, units=6))
    batch = windows(agent)
    plain = batch._replace(
        obs=batch.obs[:, 0],
        next_obs=batch.obs[:, 1],
        **{"action": batch.action[:, :3], "reward": batch.reward[:, :3], "discount": torch.zeros(2, 3)},
        window=None,
    )
    window = Window(
        following=torch.arange(3, 6).expand(2, 3),
        share=torch.ones(2, 3),
        **{"exists": None, "carry": None, "previous": torch.zeros(2, 2, 3, 4)},
    )
    results = []
    for one in (plain, plain._replace(obs=batch.obs[:, :2], next_obs=None, window=window)):
        priority, report = agent.gradient(one, torch.ones(2, 3), agent.rng)
        results.append([priority, report, agent._parameters.gradient.clone()])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


PAIRS = list(enumerate(itertools.product(HEADS, BACKUPS)))


@pytest.mark.parametrize(("number", "pair"), PAIRS, ids=str)
def test_every_head_and_backup_trains(number, pair):
    """Every parameter gets a finite gradient that is not zero; the other switches alternate."""
    head, backup = pair
    one, two, four = (bool(number & bit) for bit in (1, 2, 4))
    agent = make(
        backup=BACKUPS[backup],
        head=partial(HEADS[head], rescale=1e-3 if four else None),
        core=partial(LSTM if one else GRU, units=5),
        layer=NOISY if two else LINEAR,
        streams=partial(DuelingStreams if one != four else SINGLE.func, hidden_sizes=[], activation="relu"),
        sees_action=not two,
    )
    reader = {"length": 4, "period": 2, "burn_in": 3 * four, "stored_state": not one, "n_step": 1 + 2 * two}
    prioritized = {"alpha": 0.6, "beta": Constant(value=0.5), "epsilon": 1e-6, "max_weight": "batch"}
    memory = ReplayMemory(
        capacity=120,
        reader=partial(Sequences, eta=0.9, **reader),
        sampler=partial(Prioritized, **prioritized) if one else Uniform,
        gamma=0.9,
        spec=SPEC,
        seeds=(0, 1),
        num_envs=2,
        device=CPU,
        network=agent.policy.network_spec,
    )
    fill(agent, memory)
    for tick in range(2):
        sample = memory.sample(16)
        update = agent.update(sample, tick)
        assert np.isfinite([update.loss, update.q, update.grad_norm]).all()
        memory.update_priorities(sample.row, update.priority)
        leaves = dict(agent.online.named_parameters())
        gradients = views(agent._parameters.gradient, list(leaves.values()))
        for name, gradient in zip(leaves, gradients, strict=True):
            assert gradient.isfinite().all(), name
            assert (gradient.flatten(1).abs().sum(-1) > 0).all(), name
    assert not isinstance(agent.policy.forward, TorchForward), "acting fell back to torch"


def fill(agent: Agent, memory: ReplayMemory) -> None:
    """Store episodes of random length and ends, which the agent plays."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(2, 2, 4)).astype(np.float32)
    for _ in range(80):
        action = agent.actor.act(obs, 0.3)
        following, reward = (rng.normal(size=size).astype(np.float32) for size in (obs.shape, (2, 2)))
        end = rng.random((2, 2))
        terminated, truncated, no = end < 0.1, end > 0.95, np.zeros((2, 2), bool)
        agent.actor.acted(action, reward)
        memory.push(Row(obs, action, reward, following, terminated, truncated, no, ~no, agent.actor.carry))
        agent.actor.start(terminated | truncated)
        obs = following
