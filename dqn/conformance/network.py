"""Checks of the network and its parts: what goes in [K, B, ...], what comes out, and what that depends on."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from dqn.agent import Policy
from dqn.agent.policy import parameter_generators
from dqn.agent.rng import NumpyRng, TorchRng
from dqn.conformance.assertions import Failure, near, require, same
from dqn.conformance.candidate import CPU, Subject, make_rng, normal, observations, perturb
from dqn.network import HeadFactory
from dqn.types import Rng, Role

SEEDS = (0, 1)
SIZE = 5
ROLES: tuple[Role | None, ...] = (None, *get_args(Role))


class Stack(NamedTuple):
    """Something with the seed axis."""

    make: Callable[[Sequence[int]], Any]
    """Seeds to a module."""
    forward: Callable[[Any, Tensor, Rng | None], Tensor]
    inputs: Tensor  # [2, SIZE, ...]
    others: Tensor  # the same shape, other numbers
    shape: tuple[int, ...]
    """Of what comes out, but for K and B."""

    def __call__(self, module: Any, inputs: Tensor, role: Role | None, seeds: Sequence[int]) -> Tensor:
        with torch.no_grad():
            out = self.forward(module, inputs, None if role is None else make_rng(seeds, role))
        return out.clone()


def examine_stack(stack: Stack) -> None:
    """Check a module with the seed axis.

    Raises:
        Failure: it is not as the others need it.
    """
    module = stack.make(SEEDS)
    check_parameters(stack, module)
    check_shapes(stack, module)
    for role in ROLES:
        given = "without rng" if role is None else f"with an rng for {role!r}"
        before = stack(module, stack.inputs, role, SEEDS)
        again = stack(module, stack.inputs, role, SEEDS)
        cause = "nothing should vary" if role is None else "all that varies should come from the rng"
        same(before, again, f"{given}, the same input gave other numbers when it was given again: {cause}")
        check_samples(stack, module, before, role)
        check_seeds(stack, before, role)


def check_parameters(stack: Stack, module: nn.Module) -> None:
    alone = dict(stack.make(SEEDS[1:]).named_parameters())
    for name, leaf in module.named_parameters():
        right = leaf.ndim > 0 and leaf.shape[0] == len(SEEDS)
        require(
            right,
            f"the parameter {name} has shape {list(leaf.shape)}; its first axis should be the seeds, K=2",
        )
        same(
            leaf[1],
            alone[name][0],
            f"the parameter {name} of a seed began otherwise than that of this seed alone:"
            " each should be drawn from the generator of its seed",
        )


def check_shapes(stack: Stack, module: nn.Module) -> None:
    for num_seeds in (1, 2):
        whole = module if num_seeds == 2 else stack.make(SEEDS[:1])
        for size in (1, SIZE):
            out = stack(whole, stack.inputs[:num_seeds, :size], None, SEEDS[:num_seeds])
            right = (num_seeds, size, *stack.shape)
            given = f"for K={num_seeds} seeds and B={size} samples"
            require(
                out.shape == right,
                f"{given}, the output has shape {list(out.shape)}; it should be {list(right)}",
            )
            require(bool(out.isfinite().all()), f"{given}, the output is not finite")


def check_samples(stack: Stack, module: nn.Module, before: Tensor, role: Role | None) -> None:
    inputs = stack.others.clone()
    inputs[:, 0] = stack.inputs[:, 0]
    after = stack(module, inputs, role, SEEDS)
    near(
        after[:, 0],
        before[:, 0],
        "the output for a sample changed when the other samples of the batch did;"
        " it should depend on its own sample alone",
    )


def check_seeds(stack: Stack, before: Tensor, role: Role | None) -> None:
    changed = stack.make(SEEDS)
    perturb(changed, 1)
    after = stack(changed, stack.inputs, role, SEEDS)
    text = (
        "the output of seed 0 changed when the parameters of seed 1 did; each seed should use its own alone"
    )
    same(after[0], before[0], text)
    others = stack.inputs.clone()
    others[1] = stack.others[1]
    after = stack(stack.make(SEEDS), others, role, SEEDS)
    same(after[0], before[0], "the output of seed 0 changed when the input of seed 1 did")
    alone = stack(stack.make(SEEDS[1:]), stack.inputs[1:], role, SEEDS[1:])
    near(alone[0], before[1], "a seed alone gave other numbers than the same seed beside another one")


def random_inputs(*shape: int) -> tuple[Tensor, Tensor]:
    """Return two different inputs [2, SIZE, *shape]."""
    both = torch.sigmoid(normal(2, len(SEEDS), SIZE, *shape))
    return both[0], both[1]


def forward(module: Any, inputs: Tensor, numbers: Rng | None) -> Tensor:
    out: Tensor = module.forward(inputs, numbers)
    return out


def mean(module: Any, inputs: Tensor, numbers: Rng | None) -> Tensor:
    out: Tensor = module.forward(inputs, numbers).mean()
    return out


def layer(subject: Subject) -> None:
    make = subject.part("network.layer")
    examine_stack(
        Stack(
            lambda seeds: make(in_features=6, out_features=4, generators=parameter_generators(seeds)),
            forward,
            *random_inputs(6),
            (4,),
        )
    )
    check_overwriting(make(in_features=4, out_features=4, generators=parameter_generators(SEEDS)))


def check_overwriting(module: nn.Module) -> None:
    """Let the ReLU behind a layer overwrite what it returns."""
    inputs = normal(len(SEEDS), SIZE, 4)
    before = inputs.clone()
    out = torch.relu_(forward(module, inputs, make_rng(SEEDS, "prediction")))
    same(inputs, before, "what it returned shares memory with its input; the ReLU behind it overwrites it")
    try:
        torch.autograd.grad(out.sum(), list(module.parameters()), allow_unused=True)
    except RuntimeError:
        why = "its last operation needs its result for the backward pass; the ReLU behind it overwrites it"
        raise Failure(why) from None


def make_torso(subject: Subject, seeds: Sequence[int]) -> Any:
    spec = subject.spec.obs
    in_shape = (spec.num_categories,) if spec.num_categories else spec.shape
    make, of_layer = subject.part("network.torso"), subject.part("network.layer")
    return make(layer=of_layer, in_shape=in_shape, generators=parameter_generators(seeds))


def torso(subject: Subject) -> None:
    spec = subject.spec.obs
    inputs = random_inputs(*((spec.num_categories,) if spec.num_categories else spec.shape))
    shape = (make_torso(subject, SEEDS).out_features,)
    examine_stack(Stack(lambda seeds: make_torso(subject, seeds), forward, *inputs, shape))


def head_factory(subject: Subject, seeds: Sequence[int]) -> HeadFactory:
    """Return what makes the modules of heads that fit the torso."""
    return HeadFactory(
        in_features=make_torso(subject, SEEDS).out_features,
        num_actions=subject.spec.num_actions,
        make_streams=subject.part("network.streams"),
        make_layer=subject.part("network.layer"),
        generators=parameter_generators(seeds),
    )


def streams(subject: Subject) -> None:
    examine_stack(
        Stack(
            lambda seeds: head_factory(subject, seeds).streams(num_atoms=3),
            forward,
            *random_inputs(make_torso(subject, SEEDS).out_features),
            (subject.spec.num_actions, 3),
        )
    )


def head(subject: Subject) -> None:
    make = subject.part("network.head")
    examine_stack(
        Stack(
            lambda seeds: make(make=head_factory(subject, seeds)),
            mean,
            *random_inputs(make_torso(subject, SEEDS).out_features),
            (subject.spec.num_actions,),
        )
    )


def network(subject: Subject) -> None:
    spec = subject.spec
    inputs, others = (torch.from_numpy(observations(spec.obs, 2, SIZE, place=place)) for place in range(2))
    examine_stack(Stack(subject.network, mean, inputs, others, (spec.num_actions,)))


def acting(subject: Subject) -> None:
    """Check that the values by which actions are chosen are the network's, also after updates."""
    policy = Policy(network=subject.part("network"), spec=subject.spec, seeds=SEEDS, device=CPU)
    obs = observations(subject.spec.obs, 2, SIZE)
    for when in ("at first", "after the parameters changed"):
        for given in (False, True) if policy.is_random else (False,):
            sources = [NumpyRng(seeds=SEEDS, name="check", role="acting") for _ in range(2 * given)]
            numbers = TorchRng(sources[1], CPU) if given else None
            with torch.no_grad():
                expected = policy.network.forward(torch.from_numpy(obs), numbers).mean()
            seen = policy.q_values(obs, sources[0] if given else None)
            near(seen, expected, f"{when}, actions are chosen by other values than the network's")
        perturb(policy.network, slice(None))
