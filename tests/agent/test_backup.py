"""Backups: by hand, against the obvious loop, and where one becomes another."""

import math

import pytest
import torch

from dqn.agent.backup import Double, Greedy, Munchausen, greedy, target_of
from dqn.types import Batch
from dqn.value import Categorical, Expected, Quantile

GENERATOR = torch.Generator().manual_seed(0)
Q, Q_NEXT, ONLINE_NEXT = torch.randn(3, 2, 4, 3, generator=GENERATOR)
BATCH = Batch(
    obs=torch.zeros(2, 4, 1),
    action=torch.tensor([[0, 1, 2, 0], [2, 1, 1, 0]]),
    reward=torch.zeros(2, 4),
    discount=torch.tensor([[0.9, 0.0, 0.9, 0.81], [0.9, 0.9, 0.0, 0.0]]),
    next_obs=torch.ones(2, 4, 1),
)


def target_net(end: str) -> torch.Tensor:
    return {"obs": Q, "next_obs": Q_NEXT}[end]


def online_net(end: str) -> torch.Tensor:
    return {"next_obs": ONLINE_NEXT}[end]


@pytest.mark.parametrize(("backup", "chooser"), [(Greedy(), Q_NEXT), (Double(), ONLINE_NEXT)])
def test_the_best_action_of_the_right_network(backup, chooser):
    policy, bonus = backup(BATCH, Q_NEXT, online_net, target_net)
    assert torch.equal(policy.argmax(-1), chooser.argmax(-1))
    assert torch.equal(policy.sum(-1), torch.ones(2, 4))
    assert policy.max() == 1
    assert bonus == 0


def test_equal_values_go_to_the_first_action():
    tie = torch.tensor([[[1.0, 3.0, 3.0]]])
    policy, _ = Greedy()(BATCH, tie, online_net, target_net)
    assert policy.tolist() == [[[0, 1, 0]]]


@pytest.mark.parametrize(
    ("temperature", "alpha", "clip"), [(0.03, 0.9, -1.0), (0.5, 0.7, -0.2), (2.0, 1.0, -9.0)]
)
def test_munchausen_is_the_papers(temperature, alpha, clip):
    """Vieillard et al. (2020), eq. 1, sample by sample; the target is compared, not its parts."""
    policy, bonus = Munchausen(temperature=temperature, alpha=alpha, clip=clip)(
        BATCH, Q_NEXT, online_net, target_net
    )
    target = BATCH.reward + bonus + BATCH.discount * (policy * Q_NEXT).sum(-1)
    for k in range(2):
        for i in range(4):
            now = [math.exp(float(q) / temperature) for q in Q[k, i].double()]
            log_pi = temperature * math.log(now[BATCH.action[k, i]] / sum(now))
            following = [math.exp(float(q) / temperature) for q in Q_NEXT[k, i].double()]
            soft = sum(
                p / sum(following) * (float(q) - temperature * math.log(p / sum(following)))
                for p, q in zip(following, Q_NEXT[k, i], strict=True)
            )
            expected = alpha * min(max(log_pi, clip), 0) + float(BATCH.discount[k, i]) * soft
            assert float(target[k, i]) == pytest.approx(expected, abs=1e-4)


def test_soft_values_are_the_log_sum_of_exponentials():
    """The mean of q plus temperature times entropy is temperature * log sum exp(q / temperature)."""
    policy, bonus = Munchausen(temperature=0.5, alpha=0.0, clip=-1.0)(BATCH, Q_NEXT, online_net, target_net)
    soft = 0.5 * torch.logsumexp(Q_NEXT / 0.5, -1)
    torch.testing.assert_close(bonus + BATCH.discount * (policy * Q_NEXT).sum(-1), BATCH.discount * soft)


def test_munchausen_becomes_greedy_as_it_cools():
    policy, bonus = Munchausen(temperature=1e-4, alpha=0.0, clip=-1.0)(BATCH, Q_NEXT, online_net, target_net)
    expected, _ = Greedy()(BATCH, Q_NEXT, online_net, target_net)
    torch.testing.assert_close(policy, expected)
    torch.testing.assert_close(bonus, torch.zeros(2, 4), atol=1e-3, rtol=0)


def test_large_values_stay_finite():
    """Values far above the temperature, where exponentials overflow."""
    policy, bonus = Munchausen(temperature=0.03, alpha=0.9, clip=-1.0)(
        BATCH, 1e4 * Q_NEXT, online_net, lambda obs: 1e4 * Q
    )
    assert policy.isfinite().all()
    assert bonus.isfinite().all()
    assert bonus.min() >= -0.9


FOLLOWING = {
    "expected": Expected(Q_NEXT, 1.0),
    "categorical": Categorical(torch.zeros(2, 4, 3, 5).log_softmax(-1), torch.linspace(-8, 8, 5)),
    "quantile": Quantile(Q_NEXT.unsqueeze(-1) + torch.arange(3), torch.tensor([0.2, 0.5, 0.8]), 1.0),
}


@pytest.mark.parametrize("head", FOLLOWING)
def test_plain_values_make_a_target_of_one_return(head):
    """The target is reward + discount * value without any spread, regardless of the next distributions."""
    batch = BATCH._replace(reward=torch.arange(8.0).reshape(2, 4) / 8)
    values = torch.linspace(-2, 2, 8).reshape(2, 4)
    target = target_of(values, batch, FOLLOWING[head])
    expected = batch.reward + batch.discount * values
    torch.testing.assert_close(target.mean(), expected)
    if head == "quantile":
        torch.testing.assert_close(target.value, expected.unsqueeze(-1).expand(-1, -1, 3))
    if head == "categorical":
        assert ((target.log_probs.exp() > 0).sum(-1) <= 2).all(), "at most the two atoms beside the return"


def test_values_that_are_the_best_actions_are_greedy():
    ours, theirs = (
        target_of(v, BATCH, FOLLOWING["expected"]) for v in (Q_NEXT.amax(-1), (greedy(Q_NEXT), 0))
    )
    assert torch.equal(ours.value, theirs.value)


def test_plain_values_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \[2, 4, 1\]; they should be \[2, 4\]: \[K, B\]"):
        target_of(Q_NEXT.amax(-1, keepdim=True), BATCH, FOLLOWING["expected"])
