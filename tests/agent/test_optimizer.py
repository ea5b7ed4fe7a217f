"""Adam on one buffer against torch's own, and RMSprop against its formula in float64."""

import copy
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from dqn.agent import RMSprop
from dqn.agent.optimizer import Adam

SETTINGS = {"betas": (0.9, 0.99), "eps": 1e-3}


def pair() -> tuple[nn.Parameter, nn.Parameter]:
    start = torch.randn(3, 48, generator=torch.Generator().manual_seed(0))
    return nn.Parameter(start.clone()), nn.Parameter(start.clone())


def test_it_is_torchs_fused_adam_bit_for_bit():
    mine, theirs = pair()
    optimizers = (
        Adam([mine], lr=1e-2, **SETTINGS),
        torch.optim.Adam([theirs], lr=1e-2, fused=True, **SETTINGS),
    )
    generator = torch.Generator().manual_seed(1)
    for step in range(20):
        gradient = torch.randn(3, 48, generator=generator) * 10.0 ** (step % 5 - 2)
        for leaf, optimizer in zip((mine, theirs), optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = 1e-2 / (1 + step)
            leaf.grad = gradient.clone()
            optimizer.step()
        assert torch.equal(mine, theirs)


def test_first_step_by_hand():
    """The averages, corrected, are g and g^2: a step of lr * g / (|g| + eps)."""
    leaf = nn.Parameter(torch.tensor([[1.0, 2.0]]))
    leaf.grad = torch.tensor([[3.0, -0.5]])
    Adam([leaf], lr=0.1, betas=(0.9, 0.99), eps=0.5).step()
    expected = torch.tensor([[1.0 - 0.1 * 3.0 / 3.5, 2.0 + 0.1 * 0.5 / 1.0]])
    torch.testing.assert_close(leaf.detach(), expected)


@pytest.mark.parametrize(
    "make", [partial(Adam, **SETTINGS), partial(RMSprop, alpha=0.9, eps=1e-3, centered=True)]
)
def test_it_goes_on_from_its_state(make):
    straight, resumed = pair()
    whole, first = make([straight], lr=1e-2), make([resumed], lr=1e-2)
    gradients = torch.randn(4, 3, 48, generator=torch.Generator().manual_seed(1))
    for gradient in gradients:
        straight.grad = gradient
        whole.step()
    for gradient in gradients[:2]:
        resumed.grad = gradient
        first.step()
    second = make([resumed], lr=1e-2)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for gradient in gradients[2:]:
        resumed.grad = gradient
        second.step()
    assert torch.equal(straight, resumed)


def test_a_gradient_of_zero_with_the_least_eps_moves_nothing():
    """In float32 an eps of 1e-50 is 0."""
    leaf = nn.Parameter(torch.ones(1, 16))
    leaf.grad = torch.zeros(1, 16)
    Adam([leaf], lr=0.1, betas=(0.9, 0.99), eps=1e-50).step()
    assert torch.equal(leaf.detach(), torch.ones(1, 16))


def test_it_does_not_import_the_compiler():
    """Which would be half of what a short run costs."""
    code = (
        "import sys, torch; from dqn.agent.optimizer import Adam;"
        "leaf = torch.nn.Parameter(torch.ones(1, 16));"
        "leaf.grad = torch.ones(1, 16); Adam([leaf], lr=0.1, betas=(0.9, 0.99), eps=1e-8).step();"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("eps", "tolerance"), [(1e-2, 2e-5), (1e-8, 5e-4)])
@pytest.mark.parametrize("centered", [True, False])
def test_rmsprop_is_its_formula_in_float64(centered, eps, tolerance):
    """3,000 steps for constant, noisy, tiny, rare and changing gradients.

    The average of a constant gradient stops a few roundings before it, which a small eps shows.
    """
    alpha, lr = 0.95, 0.1
    gradients = np.random.default_rng(0).standard_normal((3000, 6, 16), np.float32)
    gradients[:, 0] = 3.7  # torch.optim.RMSprop takes the root of a negative number at step 274
    gradients[:, 1] += 100
    gradients[:, 2:4] *= np.float32([[1e-8], [1e-20]])
    gradients[:, 4] *= (np.arange(3000) % 100 == 0)[:, None]
    gradients[:, 5] *= np.float32(10.0) ** (np.arange(3000) // 100 % 9 - 4)[:, None]
    leaf = nn.Parameter(torch.zeros(6, 16))
    optimizer = RMSprop([leaf], lr=lr, alpha=alpha, eps=eps, centered=centered)
    average, square = np.zeros((2, 6, 16))
    ours, theirs = [], []
    for gradient in gradients:
        leaf.grad = torch.from_numpy(gradient)
        optimizer.step()
        ours.append(leaf.detach().numpy().copy())
        leaf.data.zero_()
        wide = gradient.astype(np.float64)
        average = alpha * average + (1 - alpha) * wide
        square = alpha * square + (1 - alpha) * wide**2
        variance = square - average**2 if centered else square
        theirs.append(-lr * wide / np.sqrt(variance + eps))
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=1e-30)


@pytest.mark.parametrize("centered", [True, False])
def test_rmsprop_survives_the_largest_gradients(centered):
    """Their squares overflow in float32; the steps stay finite and grow again afterwards."""
    leaf = nn.Parameter(torch.zeros(1, 16))
    optimizer = RMSprop([leaf], lr=0.1, alpha=0.95, eps=1e-50, centered=centered)
    largest = torch.finfo(torch.float32).max
    for gradient in [0.0, largest, -largest, -largest, 1e30, 0.0]:
        leaf.grad = torch.full((1, 16), gradient)
        optimizer.step()
        assert leaf.isfinite().all()
    steps = []
    for i in range(2500):
        leaf.data.zero_()
        leaf.grad = torch.full((1, 16), 1.0 + i % 2)
        optimizer.step()
        steps.append(float(leaf.detach().abs().min()))
    assert 0 < steps[0] < 1e-15
    assert 0.05 < steps[-1] < 1
