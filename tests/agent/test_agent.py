"""The agent: backups, updates, clipping, target syncs, exploration."""

from functools import partial

import numpy as np
import pytest
import torch
from heads import LINEAR

from dqn import schedule
from dqn.agent import Agent
from dqn.agent.backup import Double, Greedy
from dqn.agent.optimizer import Adam
from dqn.network import MLP, ExpectedHead, QNetwork, SingleStream
from dqn.schedule import Constant
from dqn.types import Batch, EnvSpec, ObsSpec, Sample

SPEC = EnvSpec(ObsSpec((4,), np.dtype(np.float32), 0, 1.0), 3, None)


CONSTANT = Constant(value=1.0)
STREAMS = partial(SingleStream, hidden_sizes=[], activation="relu")


def make(
    *,
    seeds=(0, 1),
    backup=None,
    lr=1e-2,
    lr_schedule=CONSTANT,
    max_grad_norm=None,
    optimizer=None,
    num_envs=1,
    compile=False,
    precision="float32",
) -> Agent:
    torso, head = (
        partial(MLP, hidden_sizes=[8], activation="relu", layer_norm=False),
        partial(ExpectedHead, huber_delta=1.0, rescale=None),
    )
    return Agent(
        network=partial(
            QNetwork,
            obs_low=None,
            obs_high=None,
            obs_scale="auto",
            sees_action=False,
            core=None,
            torso=torso,
            streams=STREAMS,
            head=head,
            layer=LINEAR,
        ),
        backup=backup or Greedy(),
        optimizer=optimizer or partial(Adam, betas=(0.9, 0.999), eps=1e-8),
        lr=lr,
        lr_schedule=lr_schedule,
        gamma=0.9,
        max_grad_norm=max_grad_norm,
        compile=compile,
        precision=precision,
        planned_updates=1,
        spec=SPEC,
        seeds=seeds,
        num_envs=num_envs,
        device=torch.device("cpu"),
    )


def batch(num_seeds=2, size=5) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        obs=torch.randn(num_seeds, size, 4, generator=generator),
        action=torch.randint(3, (num_seeds, size), generator=generator),
        reward=torch.randn(num_seeds, size, generator=generator),
        discount=torch.tensor([0.9, 0.0, 0.9, 0.81, 0.0]).expand(num_seeds, size),
        next_obs=torch.randn(num_seeds, size, 4, generator=generator),
    )


def losses_of(agent: Agent, batch: Batch) -> torch.Tensor:
    losses, _, _ = agent.losses(batch, agent.rng)
    return losses


def sampled(batch: Batch) -> Sample:
    """Return a batch as uniform replay gives it."""
    return Sample(batch, torch.ones_like(batch.reward), np.zeros(batch.reward.shape, np.int64))


def perturb(agent: Agent) -> None:
    """Make the target network differ from the online one."""
    for leaf in agent.target.parameters():
        leaf.data += 0.3 * torch.randn(leaf.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backup", [Greedy(), Double()])
def test_loss_is_the_papers(backup):
    """Sample by sample: Mnih et al. (2015), algorithm 1; van Hasselt et al. (2016), eq. 4."""
    agent, sample = make(backup=backup), batch()
    perturb(agent)
    losses, priority, q = (each.detach() for each in agent.losses(sample, agent.rng))
    online, target = agent.online(sample.obs).mean().detach(), agent.target(sample.next_obs).mean()
    chooser = agent.online(sample.next_obs).mean() if isinstance(backup, Double) else target
    for k in range(2):
        values = 0.0
        for i in range(5):
            best = int(chooser[k, i].argmax())
            y = sample.reward[k, i] + sample.discount[k, i] * target[k, i, best]
            prediction = online[k, i, sample.action[k, i]]
            error = abs(float(y - prediction))
            loss = 0.5 * error**2 if error < 1 else error - 0.5
            assert float(losses[k, i]) == pytest.approx(loss, rel=1e-5)
            assert float(priority[k, i]) == pytest.approx(error, rel=1e-5)
            values += float(prediction)
        assert float(q[k]) == pytest.approx(values / 5, rel=1e-5)


def test_double_equals_greedy_where_the_networks_are_equal():
    sample = batch()
    losses = [losses_of(make(backup=backup), sample) for backup in (Greedy(), Double())]
    assert torch.equal(*losses)


def test_double_differs_where_they_differ():
    agents = [make(backup=backup) for backup in (Greedy(), Double())]
    for agent in agents:
        perturb(agent)
    assert not torch.equal(*(losses_of(agent, batch()) for agent in agents))


def test_no_gradient_reaches_the_target_network():
    agent = make(backup=Double())
    losses_of(agent, batch()).sum().backward()
    assert all(leaf.grad is None for leaf in agent.target.parameters())
    assert all(leaf.grad.abs().sum() > 0 for leaf in agent.online.parameters())


def test_target_beyond_termination_does_not_matter():
    agent, sample = make(), batch()
    perturb(agent)
    ends = sample._replace(discount=torch.zeros(2, 5))
    loss, elsewhere = (losses_of(agent, each) for each in (ends, ends._replace(next_obs=torch.ones(2, 5, 4))))
    assert torch.equal(loss, elsewhere)


def test_update_is_the_optimizers_step_on_the_mean_loss():
    """Against torch's Adam on the leaves of one seed."""
    agent, sample = make(seeds=(1,)), batch(1)
    twin = make(seeds=(1,))
    leaves = list(twin.online.parameters())
    optimizer = torch.optim.Adam(leaves, lr=1e-2)
    for _ in range(10):
        update = agent.update(sampled(sample), 0)
        losses, _, q = twin.losses(sample, twin.rng)
        loss = losses.mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.cat([leaf.grad.flatten() for leaf in leaves]).norm()
        optimizer.step()
        assert update.loss[0] == pytest.approx(loss.item(), rel=1e-5)
        assert update.q[0] == pytest.approx(q.item(), rel=1e-4)
        assert update.grad_norm[0] == pytest.approx(norm.item(), rel=1e-4)
    for ours, theirs in zip(agent.online.parameters(), leaves, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_clipping_is_per_seed():
    """With plain gradient descent the step's length is lr * min(norm, max_grad_norm), seed by seed."""
    limit = 0.3
    agent = make(optimizer=torch.optim.SGD, lr=0.1, max_grad_norm=limit)
    sample = batch()
    sample = sample._replace(
        reward=sample.reward * torch.tensor([[1e-3], [50.0]]) + agent_values(agent, sample)
    )
    before = agent._parameters.value.clone()
    norms = agent.update(sampled(sample), 0).grad_norm
    assert norms[0] < limit < norms[1]
    lengths = (agent._parameters.value - before).norm(dim=1)
    torch.testing.assert_close(lengths, 0.1 * torch.tensor([norms[0], limit]), rtol=1e-4, atol=0)


def agent_values(agent: Agent, sample: Batch) -> torch.Tensor:
    """Return rewards that make the first seed's errors small: the values less the discounted next ones."""
    with torch.no_grad():
        q = agent.online(sample.obs).at(sample.action).value
        return q - sample.discount * agent.target(sample.next_obs).mean().max(-1).values


def test_weights_scale_each_sample():
    """A weight of zero takes a sample out of the loss; the mean stays one over the batch."""
    agent, twin, whole = make(), make(), batch()
    weight = torch.tensor([1.0, 0.0, 0.5, 0.0, 2.0]).expand(2, 5)
    losses = losses_of(twin, whole).detach()
    update = agent.update(sampled(whole)._replace(weight=weight), 0)
    np.testing.assert_allclose(update.loss, (losses * weight).mean(-1), rtol=1e-6)
    assert update.priority.shape == (2, 5)


def test_bfloat16_is_near_float32():
    """Its numbers have 8 bits: 1/256; those of a seed alone are the same, and what is kept is float32."""
    plain, mixed, alone = make(), make(precision="bfloat16"), make(precision="bfloat16", seeds=(0,))
    whole = batch()
    for agent, sample in (
        (plain, whole),
        (mixed, whole),
        (alone, whole.filled(each[:1] for each in whole.tensors())),
    ):
        agent.update(sampled(sample), 0)
    gradient = plain._parameters.gradient
    error = (mixed._parameters.gradient - gradient).abs().max() / gradient.abs().max()
    assert 1e-5 < error < 0.02
    assert mixed._parameters.value.dtype == mixed._parameters.gradient.dtype == torch.float32
    assert torch.equal(mixed._parameters.value[:1], alone._parameters.value)
    obs = whole.obs[:1]
    assert alone.online.mixed(obs).mean().dtype == torch.float32
    torch.testing.assert_close(torch.from_numpy(alone.policy.q_values(obs.numpy())), alone.online(obs).mean())


def test_learning_rate_follows_its_schedule():
    """Plain gradient descent moves by lr * share * gradient; at share 0 nothing moves."""
    agent = make(
        optimizer=torch.optim.SGD, lr=0.1, lr_schedule=schedule.Linear(start=1.0, end=0.0, duration=10)
    )
    steps = []
    for tick in (0, 5, 10):
        before = agent._parameters.value.clone()
        norm = agent.update(sampled(batch()), tick).grad_norm
        steps.append((agent._parameters.value - before).norm(dim=1) / torch.tensor(norm))
    torch.testing.assert_close(torch.stack(steps), torch.tensor([[0.1], [0.05], [0.0]]).expand(3, 2))


@pytest.mark.parametrize("tau", [1.0, 0.25])
def test_target_sync(tau):
    agent = make()
    perturb(agent)
    online, target = (
        net.head.streams.layers[0].weight.detach().clone() for net in (agent.online, agent.target)
    )
    agent.sync_target(tau)
    synced = agent.target.head.streams.layers[0].weight
    if tau == 1:
        assert torch.equal(synced, online)
    torch.testing.assert_close(synced.detach(), tau * online + (1 - tau) * target)
    assert torch.equal(agent.online.head.streams.layers[0].weight, online)


def test_target_starts_as_the_online_network():
    agent = make()
    for ours, theirs in zip(agent.online.parameters(), agent.target.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_exploration_reaches_all_actions_at_the_rate_epsilon():
    """With epsilon 0.3 and three actions, the greedy one is taken at 0.7 + 0.1."""
    agent = make(num_envs=4)
    obs = np.ones((2, 4, 4), np.float32)
    greedy = agent.policy.q_values(obs).argmax(-1)
    actions = np.stack([agent.actor.act(obs, 0.3) for _ in range(3000)])
    for k in range(2):
        frequency = np.bincount(actions[:, k].ravel(), minlength=3) / 12_000
        expected = np.full(3, 0.1)
        expected[greedy[k, 0]] += 0.7
        np.testing.assert_allclose(frequency, expected, atol=0.015)


def test_epsilon_zero_is_greedy_and_one_is_uniform():
    agent = make()
    obs = np.ones((2, 1, 4), np.float32)
    greedy = agent.policy.q_values(obs).argmax(-1)
    assert all((agent.actor.act(obs, 0.0) == greedy).all() for _ in range(50))
    counts = np.bincount(np.stack([agent.actor.act(obs, 1.0) for _ in range(3000)]).ravel())
    np.testing.assert_allclose(counts / 6000, 1 / 3, atol=0.03)


def test_foreign_parameters_are_refused():
    agent = make()
    state = agent.policy.state_dict()
    with pytest.raises(ValueError, match="instead of"):
        agent.policy.load_state_dict({name: leaf[:, :1] for name, leaf in state.items()})
