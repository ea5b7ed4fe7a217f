"""Checks of the network and its parts: what goes in [K, B, ...], what comes out, and what that depends on."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from dqn.agent import Policy
from dqn.agent.policy import parameter_generators
from dqn.agent.rng import NumpyDraws, TorchDraws
from dqn.conformance.assertions import Failure, near, require, same
from dqn.conformance.candidate import CPU, Candidate, draws, normal, observations, perturb
from dqn.types import Draws, Purpose

SEEDS = (0, 1)
SIZE = 5
PURPOSES: tuple[Purpose | None, ...] = (None, *get_args(Purpose))


class Stack(NamedTuple):
    """Something with the seed axis."""

    make: Callable[[Sequence[int]], Any]
    """Seeds to a module."""
    forward: Callable[[Any, Tensor, Draws | None], Tensor]
    inputs: Tensor  # [2, SIZE, ...]
    others: Tensor  # the same shape, other numbers
    shape: tuple[int, ...]
    """Of what comes out, but for K and B."""

    def __call__(self, module: Any, inputs: Tensor, purpose: Purpose | None, seeds: Sequence[int]) -> Tensor:
        with torch.no_grad():
            out = self.forward(module, inputs, None if purpose is None else draws(seeds, purpose))
        return out.clone()


def examine_stack(stack: Stack) -> None:
    """Check a module with the seed axis.

    Raises:
        Failure: it is not as the others need it.
    """
    module = stack.make(SEEDS)
    check_parameters(stack, module)
    check_shapes(stack, module)
    for purpose in PURPOSES:
        given = "without draws" if purpose is None else f"with draws for {purpose!r}"
        before = stack(module, stack.inputs, purpose, SEEDS)
        again = stack(module, stack.inputs, purpose, SEEDS)
        cause = "nothing should vary" if purpose is None else "all that varies should come from the draws"
        same(before, again, f"{given}, the same input gave other numbers when it was given again: {cause}")
        check_samples(stack, module, before, purpose)
        check_seeds(stack, before, purpose)


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


def check_samples(stack: Stack, module: nn.Module, before: Tensor, purpose: Purpose | None) -> None:
    inputs = stack.others.clone()
    inputs[:, 0] = stack.inputs[:, 0]
    after = stack(module, inputs, purpose, SEEDS)
    near(
        after[:, 0],
        before[:, 0],
        "the output for a sample changed when the other samples of the batch did;"
        " it should depend on its own sample alone",
    )


def check_seeds(stack: Stack, before: Tensor, purpose: Purpose | None) -> None:
    changed = stack.make(SEEDS)
    perturb(changed, 1)
    after = stack(changed, stack.inputs, purpose, SEEDS)
    text = (
        "the output of seed 0 changed when the parameters of seed 1 did; each seed should use its own alone"
    )
    same(after[0], before[0], text)
    others = stack.inputs.clone()
    others[1] = stack.others[1]
    after = stack(stack.make(SEEDS), others, purpose, SEEDS)
    same(after[0], before[0], "the output of seed 0 changed when the input of seed 1 did")
    alone = stack(stack.make(SEEDS[1:]), stack.inputs[1:], purpose, SEEDS[1:])
    near(alone[0], before[1], "a seed alone gave other numbers than the same seed beside another one")


def random_inputs(*shape: int) -> tuple[Tensor, Tensor]:
    """Return two different inputs [2, SIZE, *shape]."""
    both = torch.sigmoid(normal(2, len(SEEDS), SIZE, *shape))
    return both[0], both[1]


def forward(module: Any, inputs: Tensor, numbers: Draws | None) -> Tensor:
    out: Tensor = module.forward(inputs, numbers)
    return out


def mean(module: Any, inputs: Tensor, numbers: Draws | None) -> Tensor:
    out: Tensor = module.forward(inputs, numbers).mean()
    return out


def layer(candidate: Candidate) -> None:
    make = candidate.part("network.layer")
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
    out = torch.relu_(forward(module, inputs, draws(SEEDS, "prediction")))
    same(inputs, before, "what it returned shares memory with its input; the ReLU behind it overwrites it")
    try:
        torch.autograd.grad(out.sum(), list(module.parameters()), allow_unused=True)
    except RuntimeError:
        why = "its last operation needs its result for the backward pass; the ReLU behind it overwrites it"
        raise Failure(why) from None


def make_torso(candidate: Candidate, seeds: Sequence[int]) -> Any:
    spec = candidate.spec.obs
    in_shape = (spec.num_categories,) if spec.num_categories else spec.shape
    make, of_layer = candidate.part("network.torso"), candidate.part("network.layer")
    return make(layer=of_layer, in_shape=in_shape, generators=parameter_generators(seeds))


def torso(candidate: Candidate) -> None:
    spec = candidate.spec.obs
    inputs = random_inputs(*((spec.num_categories,) if spec.num_categories else spec.shape))
    shape = (make_torso(candidate, SEEDS).out_features,)
    examine_stack(Stack(lambda seeds: make_torso(candidate, seeds), forward, *inputs, shape))


def head(candidate: Candidate) -> None:
    features, num_actions = make_torso(candidate, SEEDS).out_features, candidate.spec.num_actions
    make, of_layer = candidate.part("network.head"), candidate.part("network.layer")
    examine_stack(
        Stack(
            lambda seeds: make(
                layer=of_layer,
                in_features=features,
                num_actions=num_actions,
                generators=parameter_generators(seeds),
            ),
            mean,
            *random_inputs(features),
            (num_actions,),
        )
    )


def network(candidate: Candidate) -> None:
    spec = candidate.spec
    inputs, others = (torch.from_numpy(observations(spec.obs, 2, SIZE, place=place)) for place in range(2))
    examine_stack(Stack(candidate.network, mean, inputs, others, (spec.num_actions,)))


def acting(candidate: Candidate) -> None:
    """Check that the values by which actions are chosen are the network's, also after updates."""
    policy = Policy(network=candidate.part("network"), spec=candidate.spec, seeds=SEEDS, device=CPU)
    obs = observations(candidate.spec.obs, 2, SIZE)
    for when in ("at first", "after the parameters changed"):
        for given in (False, True) if policy.is_random else (False,):
            sources = [NumpyDraws(seeds=SEEDS, name="check", purpose="acting") for _ in range(2 * given)]
            numbers = TorchDraws(sources[1], CPU) if given else None
            with torch.no_grad():
                expected = policy.network.forward(torch.from_numpy(obs), numbers).mean()
            seen = policy.q_values(obs, sources[0] if given else None)
            near(seen, expected, f"{when}, actions are chosen by other values than the network's")
        perturb(policy.network, slice(None))
