"""Return distributions, by hand and by identities."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dqn.agent.backup import greedy
from dqn.value import Categorical, Expected, Quantile, project

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


SUPPORT = torch.tensor([-1.0, 0.0, 1.0, 2.0])


def categorical(*probs: float) -> Categorical:
    return Categorical(torch.tensor(probs).log(), SUPPORT)


def test_projection_by_hand():
    """Mass goes to both neighbours by nearness, whole where an atom is hit, to the ends beyond them."""
    atoms = torch.tensor([[-5.0, -0.25, 1.0, 7.0]])
    projected = project(atoms, torch.tensor([[0.1, 0.4, 0.2, 0.3]]), SUPPORT)
    torch.testing.assert_close(projected, torch.tensor([[0.1 + 0.1, 0.3, 0.2, 0.3]]))


def test_projection_equals_the_papers_loop():
    """Bellemare et al. (2017), algorithm 1, atom by atom; its mass is 1."""
    generator = torch.Generator().manual_seed(0)
    support = torch.linspace(-2, 3, 11)
    probs = torch.rand(6, 11, generator=generator).softmax(-1)
    reward, discount = torch.randn(6, generator=generator), torch.tensor([0.9, 0.0, 1.0, 0.5, 0.0, 1.0])
    reward[4], reward[5] = 0.5, 0.5  # targets that hit atoms
    expected = np.zeros((6, 11))
    for i in range(6):
        for j in range(11):
            shifted = min(max(float(reward[i] + discount[i] * support[j]), -2.0), 3.0)
            b = round((shifted + 2) / 0.5, 6)
            low, high = math.floor(b), math.ceil(b)
            if low == high:
                expected[i, low] += float(probs[i, j])
            else:
                expected[i, low] += float(probs[i, j]) * (high - b)
                expected[i, high] += float(probs[i, j]) * (b - low)
    shifted = Categorical(probs.log(), support).shift(reward, discount)
    np.testing.assert_allclose(shifted.log_probs.exp(), expected, atol=1e-5)
    np.testing.assert_allclose(shifted.log_probs.exp().sum(-1), 1, atol=1e-6)


def test_projection_keeps_the_mean_within_the_support():
    probs = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    before = Categorical(probs.log(), SUPPORT)
    after = before.shift(torch.full((5,), 0.3), torch.full((5,), 0.5))
    torch.testing.assert_close(after.mean(), 0.3 + 0.5 * before.mean())


def test_one_atom_of_mass_is_the_expected_value():
    """C51 with all mass on an atom that stays on the support is the expected return."""
    sure = categorical(0, 0, 1, 0).shift(torch.tensor(1.0), torch.tensor(1.0))
    assert sure.log_probs.exp().tolist() == [0, 0, 0, 1]
    assert float(sure.mean()) == 2


def test_cross_entropy_by_hand():
    prediction, target = categorical(0.1, 0.2, 0.3, 0.4), categorical(0.5, 0.0, 0.0, 0.5)
    expected = -0.5 * math.log(0.1) - 0.5 * math.log(0.4)
    assert float(prediction.loss(target)) == pytest.approx(expected)
    assert float(prediction.priority(target)) == pytest.approx(expected)


def test_an_impossible_target_leaves_the_loss_and_its_gradient_finite():
    logits = torch.zeros(4, requires_grad=True)
    loss = Categorical(torch.log_softmax(logits, -1), SUPPORT).loss(categorical(0, 0, 0, 1))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(4))
    torch.testing.assert_close(logits.grad, torch.tensor([0.25, 0.25, 0.25, -0.75]))


def test_categorical_chooses_and_mixes_actions():
    probs = torch.tensor([[0.25, 0.25, 0.5, 0.0], [0.0, 0.0, 0.0, 1.0]])
    both = Categorical(probs.log(), SUPPORT)
    torch.testing.assert_close(both.mean(), torch.tensor([0.25, 2.0]))
    assert both.at(torch.tensor(1)).log_probs.exp().tolist() == [0, 0, 0, 1]
    mixed = both.mix(torch.tensor([0.5, 0.5])).log_probs.exp()
    torch.testing.assert_close(mixed, torch.tensor([0.125, 0.125, 0.25, 0.5]))


def test_quantile_loss_by_hand():
    """Two quantiles against two targets; Dabney et al. (2018a), eq. 8 to 10 with kappa 1."""
    prediction = Quantile(torch.tensor([0.0, 1.0]), torch.tensor([0.25, 0.75]), 1.0)
    target = Quantile(torch.tensor([0.5, -2.0]), torch.tensor([0.25, 0.75]), 1.0)
    # errors of quantile 0: 0.5, -2; of quantile 1: -0.5, -3
    first = (0.25 * 0.125 + 0.75 * 1.5) / 2
    second = (0.25 * 0.125 + 0.25 * 2.5) / 2
    assert float(prediction.loss(target)) == pytest.approx(first + second)
    assert float(prediction.priority(target)) == pytest.approx(abs(-0.75 - 0.5))
    assert float(replace(prediction, prioritized_by="loss").priority(target)) == pytest.approx(first + second)
    without = replace(prediction, huber_delta=None).loss(target)
    assert float(without) == pytest.approx((0.25 * 0.5 + 0.75 * 2 + 0.25 * 0.5 + 0.25 * 3) / 2)
    with_two = (0.25 * 0.125 + 0.75 * 2 + 0.25 * 0.125 + 0.25 * 2 * (3 - 1)) / 2  # (2018a), eq. 10
    assert float(replace(prediction, huber_delta=2.0).loss(target)) == pytest.approx(with_two / 2)


@pytest.mark.parametrize("delta", [None, 1.0, 0.7])
def test_quantile_loss_equals_the_obvious_loop(delta):
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(2, 3, 5, generator=generator)
    tau = torch.rand(3, 5, generator=generator)
    loss = Quantile(ours, tau, delta).loss(Quantile(theirs, tau, delta))
    for b in range(3):
        total = 0.0
        for i in range(5):
            for j in range(5):
                error = float(theirs[b, j] - ours[b, i])
                weight = abs(float(tau[b, i]) - (error < 0))
                size = abs(error)
                if delta is not None:
                    size = size**2 / (2 * delta) if size <= delta else size - delta / 2
                total += weight * size / 5
        assert float(loss[b]) == pytest.approx(total, rel=1e-5)


def test_quantiles_that_minimize_the_loss_are_those_of_the_target():
    """Gradient descent on the loss finds the quantiles of a known sample."""
    sample = torch.arange(100.0) / 100
    value = torch.zeros(4, requires_grad=True)
    tau = (torch.arange(4) + 0.5) / 4
    for step in range(2000):
        loss = Quantile(value, tau, None).loss(Quantile(sample, tau, None))
        (gradient,) = torch.autograd.grad(loss, value)
        value.data -= 0.1 * 0.998**step * gradient
    torch.testing.assert_close(value.detach(), tau, atol=0.015, rtol=0)


def test_quantiles_of_one_number_are_the_expected_value():
    """With one quantile at 1/2 the loss is half of Huber's, and the mean is the value."""
    value, target = torch.randn(2, 6, 1, generator=torch.Generator().manual_seed(0))
    half = Quantile(value, torch.tensor([0.5]), 1.0).loss(Quantile(target, torch.tensor([0.5]), 1.0))
    whole = Expected(value.squeeze(-1), 1.0).loss(Expected(target.squeeze(-1), 1.0))
    torch.testing.assert_close(half, whole / 2)


def test_quantiles_choose_mix_and_shift_actions():
    both = Quantile(torch.tensor([[0.0, 2.0], [4.0, 6.0]]), torch.tensor([0.25, 0.75]), 1.0)
    assert both.mean().tolist() == [1, 5]
    assert both.at(torch.tensor(1)).value.tolist() == [4, 6]
    assert both.mix(torch.tensor([0.5, 0.5])).value.tolist() == [2, 4]
    assert both.at(torch.tensor(0)).shift(torch.tensor(1.0), torch.tensor(0.5)).value.tolist() == [1, 2]
    other = replace(both, q=torch.tensor([9.0, 8.0]))  # estimated by other fractions
    assert other.mean().tolist() == [9, 8]
    assert float(other.at(torch.tensor(0)).mean()) == 1
    assert float(other.mix(torch.tensor([0.0, 1.0])).mean()) == 5
