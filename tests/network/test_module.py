"""Ordinary modules as a torso: each seed's own, and what cannot be one."""

from functools import partial

import modules
import numpy as np
import pytest
import torch
from heads import HEADS, LINEAR, SINGLE
from helpers import config_of

from dqn.agent import Policy
from dqn.agent.numpy_forward import TorchForward
from dqn.agent.policy import parameter_generators
from dqn.config.parts import make
from dqn.config.validate import check
from dqn.errors import WrongValue
from dqn.network import QNetwork, StackedModule
from dqn.types import EnvSpec, ObsSpec

SHAPES = [(4,), (3, 5), (2, 3, 4)]
SEEDS = range(3, 6)


def torso_of(node: dict, in_shape: tuple[int, ...], seeds: range = SEEDS) -> StackedModule:
    config = {"_target_": "dqn.network.StackedModule", "_partial_": True, "module": node}
    generators = parameter_generators(seeds)
    made: StackedModule = make(config)(layer=LINEAR, in_shape=in_shape, generators=generators)
    return made


@pytest.mark.parametrize("shape", SHAPES)
def test_each_seed_computes_what_its_module_computes(shape):
    """Each module is made by hand, with torch's generator seeded from its seed's."""
    if len(shape) == 2:
        node = {"_target_": "modules.Flat", "kind": "none"}
        by_hand = partial(modules.Flat, in_features=15, kind="none")
    else:
        node = {"_target_": "modules.Conv", "channels": 3, "width": 6}
        by_hand = partial(modules.Conv, in_shape=shape, channels=3, width=6)
    before = torch.get_rng_state()
    torso, alone = torso_of(node, shape), torso_of(node, shape, SEEDS[1:2])
    assert torch.equal(torch.get_rng_state(), before), "torch's own generator is left as it was"
    x = torch.randn(3, 7, *shape, generator=torch.Generator().manual_seed(0))
    y = torso.forward(x, None)
    assert torso.out_features == y.shape[-1]
    for ours, theirs in zip(alone.parameters(), torso.parameters(), strict=True):
        assert torch.equal(ours[0], theirs[1])
    for k, generator in enumerate(parameter_generators(SEEDS)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**63 - 1, (), generator=generator)))
            module = by_hand()
            module(torch.zeros(2, *shape))
        torch.testing.assert_close(y[k], module(x[k]))
    trained = {name for name, leaf in module.named_parameters() if leaf.requires_grad}
    assert {
        name.removeprefix("stacked.").replace("/", ".") for name, _ in torso.named_parameters()
    } == trained


def test_gradients_are_those_of_each_module():
    torso = torso_of(torso_node(), (4,))
    x = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0))
    slopes = torch.autograd.grad(torso.forward(x, None).square().sum(), list(torso.parameters()))
    for k, alone in enumerate(torso_of(torso_node(), (4,), SEEDS[k : k + 1]) for k in range(3)):
        y = alone.forward(x[k : k + 1], None)
        single = torch.autograd.grad(y.square().sum(), list(alone.parameters()))
        for whole, one in zip(slopes, single, strict=True):
            torch.testing.assert_close(whole[k], one[0])


def torso_node() -> dict:
    return {"_target_": "modules.Conv", "channels": 3, "width": 6}


def test_acting_stays_in_torch():
    """NumPy's twin cannot follow an ordinary module."""
    torso = partial(StackedModule, module=lambda in_shape: modules.Flat(4, "none"))
    parts = {"torso": torso, "streams": SINGLE, "head": HEADS["expected"], "layer": LINEAR}
    network = partial(
        QNetwork, obs_low=None, obs_high=None, obs_scale="auto", sees_action=False, core=None, **parts
    )
    spec = EnvSpec(ObsSpec((2, 2), np.dtype(np.uint8), 0, 1 / 255), 3, None)
    policy = Policy(network=network, spec=spec, seeds=SEEDS, device=torch.device("cpu"))
    assert isinstance(policy.q_values, TorchForward)
    assert policy.q_values(np.zeros((3, 1, 2, 2), np.uint8)).shape == (3, 1, 3)


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("Flat", "dropout", "Flat: should draw no random numbers in the forward pass"),
        ("Flat", "norm", "but changed 3.running_mean; nn.LayerNorm"),
        ("Broken", "tuple", "[2, F], float32, for observations [2, 3, 5], not a tuple"),
        ("Broken", "image", "not [2, 1, 3, 5], float32; nn.Flatten() at its end may help"),
        ("Broken", "double", "not [2, 3, 5], float64; nn.Flatten()"),
        ("Broken", "batch", "not [30], float32"),
        ("number", None, "network.torso.module=15: should make a torch.nn.Module"),
    ],
)
def test_what_cannot_be_a_torso(name, kind, text):
    node = {"_target_": f"modules.{name}"} | ({} if kind is None else {"kind": kind})
    with pytest.raises(WrongValue) as error:
        torso_of(node, (3, 5))
    assert text in str(error.value)
    assert str(error.value).startswith("network.torso.module=")


def test_what_a_module_raises_has_a_note():
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes") as error:
        torso_of({"_target_": "modules.Broken", "kind": "input"}, (3, 5))
    assert error.value.__notes__ == ["in a trial of network.torso.module on observations [2, 3, 5]"]


@pytest.mark.parametrize(
    ("module", "key", "text"),
    [
        ("", "network.torso.module", "should be {_target_: CLASS, ARGUMENT: VALUE}"),
        ("=modules.Flat", "network.torso.module", "should be {_target_: CLASS, ARGUMENT: VALUE}"),
        ("={_target_: modules.Flat}", "network.torso.module.kind", "should be given"),
        ("={_target_: modules.Flat, kind: a, b: 1}", "network.torso.module.b", "no such key"),
        (
            "={_target_: modules.Flat, kind: a, in_features: 3}",
            "network.torso.module.in_features",
            "left out",
        ),
        ("={_target_: modules.Flat, kind: a, _partial_: true}", "network.torso.module._partial_", "left out"),
        ("={_target_: modules.None}", "network.torso.module._target_", "should name a class or a function"),
        ("={_target_: torch.nn.Flatten}", None, None),
    ],
)
def test_its_keys_are_checked(module, key, text):
    words = [f"network.torso.module{module}"] if module else []
    problems = check(config_of(["network/torso=module", *words])).problems
    assert [problem.key for problem in problems] == ([key] if key else [])
    assert all(text in str(problem) for problem in problems)
