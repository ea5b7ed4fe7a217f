"""Checks of the network and its parts: shapes, and what the outputs [K, B, ...] depend on."""

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from dqn.agent import Policy
from dqn.agent.policy import parameter_generators
from dqn.conformance.assertions import (
    Failure,
    difference,
    require,
    require_close,
    require_equal,
    require_finite,
    require_shape,
)
from dqn.conformance.candidate import CPU, SEEDS, Candidate, make_rng, normal, observations, perturb
from dqn.network import HeadFactory, make_torso, reads_images
from dqn.types import Array, ObsSpec, Rng, Role

SIZE = 5
STEPS = 4
"""Steps of the episodes that a recurrent core plays."""
BESIDE = 3
"""Numbers beside an image."""
ROLES: tuple[Role | None, ...] = (None, *get_args(Role))


class Stack(NamedTuple):
    """A module of stacked seeds, and two inputs for it."""

    make: Callable[[Sequence[int]], Any]
    """Returns the module of some seeds."""
    inputs: Tensor  # [2, SIZE, ...]
    others: Tensor  # [2, SIZE, ...]
    shape: tuple[int, ...]
    """Shape of the output after [K, B]."""

    def output(self, module: Any, inputs: Tensor, role: Role | None, seeds: Sequence[int] = SEEDS) -> Tensor:
        """Return the output [K, B, *shape]; of a return distribution, its mean."""
        with torch.no_grad():
            out = module.forward(inputs, None if role is None else make_rng(seeds, role))
            tensor: Tensor = out if isinstance(out, Tensor) else out.mean()
        return tensor.clone()


def examine_stack(stack: Stack) -> None:
    """Check a module of stacked seeds.

    Raises:
        Failure: it does not do what other parts rely on.
    """
    check_parameters(stack)
    for seeds, size in product((SEEDS[:1], SEEDS), (1, SIZE)):
        out = stack.output(stack.make(seeds), stack.inputs[: len(seeds), :size], None, seeds)
        name = f"for K={len(seeds)} seeds and B={size} samples, the output"
        require_shape(name, out, (len(seeds), size, *stack.shape))
        require_finite(name, out)
    for role in ROLES:
        check_dependence(stack, role)


def check_parameters(stack: Stack) -> None:
    alone = dict(stack.make(SEEDS[1:]).named_parameters())
    for name, leaf in stack.make(SEEDS).named_parameters():
        found = f"the parameter {name} has shape {list(leaf.shape)}"
        is_stacked = leaf.ndim > 0 and leaf.shape[0] == len(SEEDS)
        require(is_stacked, f"{found}; its first axis should be the seeds, K=2")
        text = f"the initial parameter {name} of a seed differs from that of this seed alone"
        require_equal(leaf[1], alone[name][0], f"{text}: each should come from the generator of its seed")


def check_dependence(stack: Stack, role: Role | None) -> None:
    """Check that each output depends on its own sample and seed alone."""
    module, perturbed = stack.make(SEEDS), stack.make(SEEDS)
    perturb(perturbed, 1)
    samples, seed = stack.others.clone(), stack.inputs.clone()
    samples[:, 0], seed[1] = stack.inputs[:, 0], stack.others[1]
    before, again = (stack.output(module, stack.inputs, role) for _ in range(2))
    given = "without rng" if role is None else f"with an rng for {role!r}"
    cause = "nothing should vary" if role is None else "all that varies should come from the rng"
    require_equal(before, again, f"{given}, the same input gave different outputs: {cause}")
    after = stack.output(module, samples, role)
    text = "the output for a sample changed when the other samples of the batch did"
    require_close(after[:, 0], before[:, 0], f"{text}; it should depend on its own sample alone")
    after = stack.output(perturbed, stack.inputs, role)
    text = "the output of seed 0 changed when the parameters of seed 1 did"
    require_equal(after[0], before[0], f"{text}; each seed should use its own alone")
    after = stack.output(module, seed, role)
    require_equal(after[0], before[0], "the output of seed 0 changed when the input of seed 1 did")
    after = stack.output(stack.make(SEEDS[1:]), stack.inputs[1:], role, SEEDS[1:])
    require_close(after[0], before[1], "the output of a seed alone differs from that beside another seed")


def random_inputs(*shape: int) -> tuple[Tensor, Tensor]:
    """Return two different inputs [2, SIZE, *shape]."""
    both = torch.sigmoid(normal(2, len(SEEDS), SIZE, *shape))
    return both[0], both[1]


def layer(candidate: Candidate) -> None:
    def make(seeds: Sequence[int], in_features: int = 6) -> Any:
        generators = parameter_generators(seeds)
        return candidate.part("network.layer")(in_features=in_features, out_features=4, generators=generators)

    examine_stack(Stack(make, *random_inputs(6), (4,)))
    check_overwriting(make(SEEDS, in_features=4))


def check_overwriting(module: Any) -> None:
    """Check that the ReLU after a layer can overwrite the layer's output."""
    inputs = normal(len(SEEDS), SIZE, 4)
    before = inputs.clone()
    out = torch.relu_(module.forward(inputs, make_rng(SEEDS, "prediction")))
    text = "its output shares memory with its input; the ReLU behind it overwrites both"
    require_equal(inputs, before, text)
    try:
        torch.autograd.grad(out.sum(), list(module.parameters()), allow_unused=True)
    except RuntimeError:
        why = "its last operation needs its result for the backward pass; the ReLU behind it overwrites it"
        raise Failure(why) from None


def torso_of(candidate: Candidate, seeds: Sequence[int], obs: ObsSpec | None = None) -> Any:
    """Return the torso of some seeds, for the environment's observations or others."""
    return make_torso(
        candidate.part("network.torso"),
        obs=obs or candidate.spec.obs,
        layer=candidate.part("network.layer"),
        generators=parameter_generators(seeds),
    )


def torso(candidate: Candidate) -> None:
    """Check the torso; one that reads images also with further numbers beside them."""
    obs = candidate.spec.obs
    examine_torso(candidate, obs)
    if obs.image is not None and reads_images(candidate.part("network.torso")):
        size = math.prod(obs.image.shape) + BESIDE
        beside = obs._replace(shape=(size,), image=obs.image._replace(rest=BESIDE))
        stack = examine_torso(candidate, beside)
        others = stack.inputs.clone()
        others[..., -1] += 1
        one, other = (stack.output(stack.make(SEEDS), inputs, None) for inputs in (stack.inputs, others))
        text = "the features do not depend on the last of the vector_size numbers behind an image"
        require(difference(one, other) > 0, text)


def examine_torso(candidate: Candidate, obs: ObsSpec) -> Stack:
    """Check the torso for some observations; return what was checked."""
    shape = (torso_of(candidate, SEEDS, obs).out_features,)
    inputs = random_inputs(*obs.encoded_shape)
    stack = Stack(lambda seeds: torso_of(candidate, seeds, obs), *inputs, shape)
    examine_stack(stack)
    return stack


def examine_behind_torso(
    candidate: Candidate, make: Callable[[HeadFactory], Any], shape: tuple[int, ...]
) -> None:
    """Check what a factory for the modules of heads makes, with inputs and outputs that fit the torso."""
    features = torso_of(candidate, SEEDS).out_features

    def made(seeds: Sequence[int]) -> Any:
        return make(
            HeadFactory(
                in_features=features,
                num_actions=candidate.spec.num_actions,
                make_streams=candidate.part("network.streams"),
                make_layer=candidate.part("network.layer"),
                generators=parameter_generators(seeds),
            )
        )

    examine_stack(Stack(made, *random_inputs(features), (candidate.spec.num_actions, *shape)))


def streams(candidate: Candidate) -> None:
    examine_behind_torso(candidate, lambda factory: factory.streams(num_atoms=3), (3,))


def head(candidate: Candidate) -> None:
    examine_behind_torso(candidate, lambda factory: candidate.part("network.head")(make=factory), ())


class Unrolled(nn.Module):
    """A core that plays the steps of its input [K, B, STEPS, F] and returns its carries [K, B, STEPS, C]."""

    def __init__(self, core: Any) -> None:
        super().__init__()
        self.core = core

    def forward(self, inputs: Tensor, rng: Rng | None, *, at_once: bool = True) -> Tensor:
        steps = inputs.transpose(1, 2)
        if at_once:
            prepared = torch.unflatten(self.core.prepare(steps.flatten(1, 2), rng), 1, steps.shape[1:3])
        else:
            prepared = torch.stack([self.core.prepare(step, rng) for step in steps.unbind(1)], 1)
        carries = [torch.zeros(*inputs.shape[:2], self.core.carry_size)]
        for step in prepared.unbind(1):
            carries.append(self.core.forward(step, carries[-1], rng))
        return torch.stack(carries[1:], 2)


def core(candidate: Candidate) -> None:
    """Check the recurrent core over the steps of an episode, which starts with a carry of zeros."""

    def make(seeds: Sequence[int]) -> Unrolled:
        generators = parameter_generators(seeds)
        return Unrolled(candidate.part("network.core")(in_features=6, generators=generators))

    module = make(SEEDS)
    size, features = module.core.carry_size, module.core.out_features
    found = f"out_features is {features} and carry_size is {size}"
    require(0 < features <= size, f"{found}; the first out_features numbers of the carry are the features")
    inputs, others = random_inputs(STEPS, 6)
    stack = Stack(make, inputs, others, (STEPS, size))
    examine_stack(stack)
    whole = module.forward(inputs, None)
    require(whole.dtype == torch.float32, f"the carry is {whole.dtype}; it should be float32")
    text = "the carries differ where prepare gets one step at a time; it should treat each row alone"
    require_close(module.forward(inputs, None, at_once=False), whole, text)
    later = torch.cat((inputs[:, :, :1], others[:, :, 1:]), 2)
    text = "the carry after the first step changed when later steps did"
    require_close(module.forward(later, None)[:, :, 0], whole[:, :, 0], text)
    given = inputs.clone().requires_grad_()
    (slope,) = torch.autograd.grad(module.forward(given, None)[:, :, -1, :features].sum(), given)
    text = "no gradient of the features of the last step reaches the input of the first one"
    require(bool(slope[:, :, 0].any()), f"{text}; the carry should pass it on")


def network(candidate: Candidate) -> None:
    spec = candidate.spec
    inputs, others = (torch.from_numpy(observations(spec.obs, 2, SIZE, index=index)) for index in range(2))
    examine_stack(Stack(candidate.network, inputs, others, (spec.num_actions,)))


def acting(candidate: Candidate) -> None:
    """Check that the policy acts by the values of its network, also after the parameters change."""
    policy = Policy(network=candidate.part("network"), spec=candidate.spec, seeds=SEEDS, device=CPU)
    obs = observations(candidate.spec.obs, 2, SIZE)
    for when in ("at first", "after the parameters changed"):
        for given in (False, True) if policy.is_random else (False,):
            rng = make_rng(SEEDS, "acting") if given else None
            with torch.no_grad():
                expected = policy.network.forward(torch.from_numpy(obs), rng).mean()
                if policy.is_recurrent:
                    check_step(policy, obs, given=given)
            found = policy.q_values(obs, make_rng(SEEDS, "acting").source if given else None)
            text = f"{when}, actions are chosen by values that are not the network's"
            require_close(found, expected, text)
        perturb(policy.network, slice(None))


def check_step(policy: Policy, obs: Array, *, given: bool) -> None:
    """Check a later step of a recurrent policy, with or without random numbers."""
    carry, previous = (normal(*obs.shape[:2], size) for size in policy.network.memory_sizes)
    rng = make_rng(SEEDS, "acting") if given else None
    returns, expected = policy.network.step(torch.from_numpy(obs), carry, previous, rng)
    source = make_rng(SEEDS, "acting").source if given else None
    values, found = policy.forward(obs, source, (carry.numpy(), previous.numpy()))
    require_close(values, returns.mean(), "at a later step, actions are chosen by other values")
    require_close(found, expected, "at a later step, acting remembers another carry than the network's")
