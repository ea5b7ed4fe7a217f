"""Value rescaling: its function against exact numbers, and what each distribution makes of it."""

from decimal import Decimal, localcontext
from functools import partial

import numpy as np
import pytest
import torch
from heads import HEADS, make_network

from dqn.agent.backup import Greedy, Munchausen, target_of
from dqn.network.heads import spaced
from dqn.types import Batch, ObsSpec
from dqn.value import Categorical, Expected, Quantile, project, rescaled, restored

EPS = [1e-3, 1e-2, 1.0]
HALF = 0.5
"""An eps with which h(3) = 2.5, h(8) = 6, h(15) = 10.5, h(24) = 16: numbers for the head."""


def numbers(dtype: torch.dtype) -> torch.Tensor:
    """Return numbers of both signs, from 1e-6 to 1e6, and 0."""
    sizes = torch.logspace(-6, 6, 49, dtype=dtype)
    return torch.cat((-sizes, torch.zeros(1, dtype=dtype), sizes))


def exactly(function, x: torch.Tensor, eps: float) -> np.ndarray:
    """Return an odd function of each number, with 50 digits."""
    with localcontext() as context:
        context.prec = 50
        parts = ((Decimal(each), Decimal(eps)) for each in x.tolist())
        return np.array([float(function(abs(each), eps).copy_sign(each)) for each, eps in parts])


def h(x: Decimal, eps: Decimal) -> Decimal:
    """Pohlen et al. (2018), section 3.2."""
    return (x + 1).sqrt() - 1 + eps * x


def inverse(y: Decimal, eps: Decimal) -> Decimal:
    """Pohlen et al. (2018), appendix A, proposition A.2."""
    return (((1 + 4 * eps * (y + 1 + eps)).sqrt() - 1) / (2 * eps)) ** 2 - 1


@pytest.mark.parametrize("eps", EPS)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 4e-7), (torch.float64, 1e-15)])
@pytest.mark.parametrize(("ours", "theirs"), [(rescaled, h), (restored, inverse)])
def test_the_papers_functions_at_every_size(ours, theirs, dtype, rtol, eps):
    """Within a few roundings from 1e-6 to 1e6; the paper's formulas lose all digits of small numbers."""
    x = numbers(dtype)
    np.testing.assert_allclose(ours(x, eps).double(), exactly(theirs, x, eps), rtol=rtol, atol=1e-40)


@pytest.mark.parametrize("eps", EPS)
def test_each_undoes_the_other(eps):
    x = numbers(torch.float32)
    torch.testing.assert_close(restored(rescaled(x, eps), eps), x, rtol=1e-6, atol=0)
    torch.testing.assert_close(rescaled(restored(x, eps), eps), x, rtol=1e-6, atol=0)


def test_by_hand_and_off():
    x, y = torch.tensor([3.0, -8.0, 0.0, 24.0]), torch.tensor([2.5, -6.0, 0.0, 16.0])
    assert torch.equal(rescaled(x, HALF), y)
    torch.testing.assert_close(restored(y, HALF), x)
    assert rescaled(x, None) is x
    assert restored(x, None) is x


def test_expected_by_hand():
    """Returns 3, -8 and 0. The best with reward 9 and discount 2 is 15, whose h is 10.5."""
    values = Expected(torch.tensor([2.5, -6.0, 0.0]), None, HALF)
    torch.testing.assert_close(values.mean(), torch.tensor([3.0, -8.0, 0.0]))
    torch.testing.assert_close(values.mix(torch.tensor([0.5, 0.5, 0.0])).mean(), torch.tensor(-2.5))
    target = values.mix(torch.tensor([1.0, 0.0, 0.0])).shift(torch.tensor(9.0), torch.tensor(2.0))
    torch.testing.assert_close(target.value, torch.tensor(10.5))
    taken = values.at(torch.tensor(1))
    assert float(taken.loss(target)) == pytest.approx(16.5**2)
    assert float(taken.priority(target)) == pytest.approx(16.5)


def test_quantiles_by_hand():
    """Returns 0 and 3, with reward 15 and discount 3: 15 and 24, of mean 19.5."""
    tau = torch.tensor([0.25, 0.75])
    values = Quantile(torch.tensor([0.0, 2.5]), tau, None, rescale=HALF)
    assert float(values.mean()) == pytest.approx(1.5)
    target = values.shift(torch.tensor(15.0), torch.tensor(3.0))
    torch.testing.assert_close(target.value, torch.tensor([10.5, 16.0]))
    h_of_means = [20.5**0.5 - 1 + HALF * 19.5, 2.5**0.5 - 1 + HALF * 1.5]
    assert float(values.priority(target)) == pytest.approx(h_of_means[0] - h_of_means[1])
    # errors of quantile 0: 10.5, 16; of quantile 1: 8, 13.5
    assert float(values.loss(target)) == pytest.approx(0.25 * 26.5 / 2 + 0.75 * 21.5 / 2)
    both = Quantile(torch.tensor([[0.0, 2.5], [6.0, 10.5]]), tau, None, rescale=HALF)  # 0, 3 and 8, 15
    mixed = both.mix(torch.tensor([0.75, 0.25]))  # 2 and 6
    torch.testing.assert_close(restored(mixed.value, HALF), torch.tensor([2.0, 6.0]))


def test_projection_by_hand():
    """62 is a quarter of the way from 35 to 143, 199 half way from 143 to 255."""
    support = spaced(35.0, 255.0, 3, HALF)
    assert support.tolist() == [35, 143, 255], "h is 22.5, 82.5 and 142.5"
    atoms = torch.tensor([62.0, 199.0, 300.0, 3.0, 143.0])
    probs = torch.tensor([0.4, 0.2, 0.1, 0.1, 0.2])
    projected = project(atoms, probs, support, HALF)
    torch.testing.assert_close(projected, torch.tensor([0.3 + 0.1, 0.1 + 0.1 + 0.2, 0.1 + 0.1]))


def test_projection_keeps_mass_and_mean():
    generator = torch.Generator().manual_seed(0)
    probs = torch.randn(50, 21, generator=generator).softmax(-1)
    before = Categorical(probs.log(), spaced(-100.0, 400.0, 21, 1e-3), 1e-3)
    reward = 20 * torch.rand(50, generator=generator)
    discount = torch.linspace(0, 0.95, 50)
    inside = before.shift(reward, discount)
    torch.testing.assert_close(inside.mean(), reward + discount * before.mean())
    beyond = before.shift(100 * reward - 1000, discount)
    for after in (inside, beyond, before.shift(torch.zeros(50), torch.ones(50))):
        torch.testing.assert_close(after.log_probs.exp().sum(-1), torch.ones(50))
    torch.testing.assert_close(after.log_probs.exp(), probs, atol=1e-5, rtol=0)  # each atom onto itself


BATCH = Batch(
    obs=torch.zeros(2, 4, 1),
    action=torch.tensor([[0, 1, 2, 0], [2, 1, 1, 0]]),
    reward=torch.linspace(-50, 300, 8).reshape(2, 4),
    discount=torch.tensor([[0.9, 0.0, 0.9, 0.81], [0.9, 0.9, 0.0, 0.0]]),
    next_obs=torch.ones(2, 4, 1),
)
RETURNS = 100 * torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
TAU = (torch.arange(5) + 0.5) / 5
KINDS = {
    "expected": lambda eps: Expected(rescaled(RETURNS[..., 0], eps), 1.0, eps),
    "quantile": lambda eps: Quantile(rescaled(RETURNS, eps), TAU, 1.0, rescale=eps),
}
BACKUPS = {
    "greedy": Greedy(),
    "munchausen": Munchausen(temperature=20.0, alpha=0.9, clip=-100.0),
    "values": lambda batch, q_next, online, target: q_next.median(-1).values,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backup", BACKUPS)
def test_the_target_of_a_backup_is_the_same_return(kind, backup):
    """Its mean is that without rescaling; so a temperature, a bonus and values are in the rewards' units."""

    def goal(eps):
        following = KINDS[kind](eps)
        q = following.mean()
        return target_of(BACKUPS[backup](BATCH, q, lambda end: q, lambda end: q), BATCH, following)

    torch.testing.assert_close(goal(1e-3).mean(), goal(None).mean(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(goal(1e-3).value, rescaled(goal(None).value, 1e-3), rtol=1e-5, atol=1e-5)


OBS = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("name", HEADS)
def test_heads(name):
    """The numbers of the network are the same, and its means are of their returns."""

    def given(eps):
        spec = ObsSpec((4,), np.dtype(np.float32), 0, 1.0)
        return make_network(spec, head=partial(HEADS[name], rescale=eps))(OBS)

    plain, ours = given(None), given(HALF)
    if name == "categorical":
        assert torch.equal(ours.log_probs, plain.log_probs)
        even = torch.linspace(1 - 3**0.5 - HALF * 2, 5**0.5 - 1 + HALF * 4, 7)
        torch.testing.assert_close(rescaled(ours.support, HALF), even)
        assert ours.limits() == plain.limits() == (-2, 4)
        expected = (ours.log_probs.exp() * ours.support).sum(-1)
    else:
        assert torch.equal(ours.value, plain.value)
        expected = restored(plain.value, HALF)
        if name != "expected":
            expected = expected.mean(-1)
    torch.testing.assert_close(ours.mean(), expected)
