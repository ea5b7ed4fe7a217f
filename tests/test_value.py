"""Return distributions, by hand and by identities."""

import pytest
import torch

from dqn.backup import greedy
from dqn.value import Expected

Q = torch.tensor([[1.0, 4.0, 2.0], [0.5, -1.0, 3.0]])


def test_expected_by_hand():
    """Reward 1, discount 0.5, the policy half and half over the first two actions."""
    distribution = Expected(Q, 1.0)
    assert distribution.mean() is Q
    assert distribution.at(torch.tensor([2, 0])).value.tolist() == [2.0, 0.5]
    policy = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    target = distribution.mix(policy).shift(torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.0]))
    assert target.value.tolist() == [2.25, 1.0]


@pytest.mark.parametrize(
    ("delta", "losses"),
    [(1.0, [0.125, 2.5]), (2.0, [0.125, 4.0]), (None, [0.25, 9.0])],
    ids=["smooth L1", "Huber 2", "squared"],
)
def test_loss_by_hand(delta, losses):
    """Errors 0.5 and 3: e^2 / 2 below delta, delta (|e| - delta / 2) above; without delta e^2."""
    prediction, target = Expected(torch.tensor([1.0, 0.0]), delta), Expected(torch.tensor([1.5, -3.0]), delta)
    assert prediction.loss(target).tolist() == losses


def test_huber_with_delta_one_is_smooth_l1():
    ours = Expected(Q, 1.0).loss(Expected(Q.flip(1), 1.0))
    torch.testing.assert_close(ours, torch.nn.functional.smooth_l1_loss(Q, Q.flip(1), reduction="none"))


def test_leading_axes_do_not_matter():
    """Seeds and batch in any shape give what each row gives."""
    q = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    action = torch.arange(15).reshape(3, 5) % 4
    whole = Expected(q, 1.0)
    for k in range(3):
        part = Expected(q[k], 1.0)
        assert torch.equal(whole.at(action).value[k], part.at(action[k]).value)
        assert torch.equal(whole.mix(greedy(q)).value[k], part.mix(greedy(q[k])).value)


def test_greedy_is_the_best_action():
    assert greedy(Q).tolist() == [[0, 1, 0], [0, 0, 1]]
    torch.testing.assert_close(Expected(Q, 1.0).mix(greedy(Q)).value, Q.max(-1).values)


def test_greedy_takes_the_first_of_equal_values():
    assert greedy(torch.tensor([[2.0, 2.0]])).tolist() == [[1, 0]]
