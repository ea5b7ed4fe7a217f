"""Adam on one buffer against torch's own."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

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


def test_it_goes_on_from_its_state():
    straight, resumed = pair()
    whole, first = Adam([straight], lr=1e-2, **SETTINGS), Adam([resumed], lr=1e-2, **SETTINGS)
    gradients = torch.randn(4, 3, 48, generator=torch.Generator().manual_seed(1))
    for gradient in gradients:
        straight.grad = gradient
        whole.step()
    for gradient in gradients[:2]:
        resumed.grad = gradient
        first.step()
    second = Adam([resumed], lr=1e-2, **SETTINGS)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for gradient in gradients[2:]:
        resumed.grad = gradient
        second.step()
    assert torch.equal(straight, resumed)


@pytest.mark.process
def test_it_does_not_import_the_compiler():
    """Which would be half of what a short run costs."""
    code = (
        "import sys, torch; from dqn.agent.optimizer import Adam;"
        "leaf = torch.nn.Parameter(torch.ones(1, 16));"
        "leaf.grad = torch.ones(1, 16); Adam([leaf], lr=0.1, betas=(0.9, 0.99), eps=1e-8).step();"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
