"""Export of a policy's network to a file that runs without this package."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from dqn.agent.numpy_forward import module_of
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.errors import UserError, cause_of, install
from dqn.types import Array, Floats

TOLERANCE = 1e-4
"""Greatest allowed difference from the policy's values, relative to the largest one if that is above 1."""

BATCH = 100
"""Observations that are compared at once; convolutions of many take much memory."""

Value = TypeVar("Value", Tensor, Array)
Inputs = Mapping[str, Value]
"""Observations as "obs" and, where the policy needs them, carries as "carry", the actions and rewards of the
steps before as "previous" and masks as "mask", in this order, [B, ...] each."""

Run = Callable[..., Any]
"""Computes the action values [B, A] of inputs in their order; with carries, these too, in a sequence."""


class OneSeed(nn.Module):
    """The network of one seed, from observations [B, ...] to action values [B, A], without the seed axis.

    Given masks [B, A], the values of invalid actions are -inf.
    """

    def __init__(self, policy: GreedyPolicy) -> None:
        super().__init__()
        self.values = module_of(copy.deepcopy(policy.policy.network))
        for leaf in self.parameters():
            leaf.data = leaf.data.cpu().clone()  # a separate tensor, no longer a view of the common buffer
        self.eval()

    def forward(self, obs: Tensor, mask: Tensor | None = None) -> Tensor:
        values: Tensor = self.values(obs.unsqueeze(0)).squeeze(0)
        return values if mask is None else values.masked_fill(~mask, -torch.inf)


class OneSeedStep(OneSeed):
    """A step of the recurrent network of one seed, which also takes its carries [B, C] and returns the next.

    They are zeros at the start of an episode.
    """

    def forward(  # type: ignore[override]
        self, obs: Tensor, carry: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.step(obs, carry, carry, mask)  # without sees_action no previous steps are read

    def step(
        self, obs: Tensor, carry: Tensor, previous: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        given = (obs.unsqueeze(0), carry.unsqueeze(0), previous.unsqueeze(0))
        values, following = self.values(*given)
        values = values.squeeze(0)
        return values if mask is None else values.masked_fill(~mask, -torch.inf), following.squeeze(0)


class OneSeedSeeingStep(OneSeedStep):
    """The same, given the previous actions, one-hot, and rewards [B, A + 1] too."""

    def forward(  # type: ignore[override]
        self, obs: Tensor, carry: Tensor, previous: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.step(obs, carry, previous, mask)


def module_for(inputs: Inputs[Array]) -> type[OneSeed]:
    """Return the class of modules that take some inputs in their order."""
    if "previous" in inputs:
        return OneSeedSeeingStep
    return OneSeedStep if "carry" in inputs else OneSeed


def export(policy: GreedyPolicy, file: Path, inputs: Inputs[Array]) -> float:
    """Write a file and return the greatest difference between its outputs and the policy's.

    Args:
        policy: the policy of one seed.
        file: its suffix chooses the format: .onnx, or .pt2 for torch.export.
        inputs: played inputs on which the file is checked.

    Raises:
        UserError: the suffix is unknown, a package is missing, the file could not be written, the network
            cannot be exported, or the values differ too much. No file is left then.
    """
    if file.suffix not in FORMATS:
        raise UserError(f"{file}: should end in {' or '.join(FORMATS)}")
    unchecked = file.with_name(f".{file.stem}.unchecked{file.suffix}")
    try:
        unchecked.touch()  # the error for a folder that is missing or read-only is clearer than torch's
        examples = {name: torch.from_numpy(array[:2]) for name, array in inputs.items()}
        run = FORMATS[file.suffix](module_for(inputs)(policy), examples, unchecked)
        difference = compare(run, policy, inputs)
        unchecked.replace(file)
    except UserError:
        raise
    except ModuleNotFoundError as error:
        raise UserError(f"{file}: a package is missing ({error}): {install('export')}") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error})") from None
    except Exception as error:  # torch raises errors of any type for a network that it cannot trace
        raise UserError(f"{file}: the network cannot be exported ({cause_of(error)})") from error
    finally:
        unchecked.unlink(missing_ok=True)
    return difference


def compare(run: Run, policy: GreedyPolicy, inputs: Inputs[Array]) -> float:
    """Return the greatest difference from the policy's outputs, for one observation and for batches."""
    count, greatest = len(inputs["obs"]), 0.0
    for part in (slice(1), *(slice(i, i + BATCH) for i in range(0, count, BATCH))):
        given = {name: array[part] for name, array in inputs.items()}
        outputs = run(*given.values())
        expected = outputs_of(policy, given)
        values, *carries = [outputs] if isinstance(outputs, np.ndarray) else outputs
        if (mask := given.get("mask")) is not None:
            if not (values[~mask] == -np.inf).all():
                raise UserError("the exported values of invalid actions are not -inf")
            values, expected[0] = values[mask], expected[0][mask]
        for one, other in zip([values, *carries], expected, strict=True):
            difference = float(np.abs(one - other).max())
            if not difference <= TOLERANCE * max(1.0, float(np.abs(other).max())):
                raise UserError(f"the exported values differ from the policy's by {difference:.2g}")
            greatest = max(greatest, difference)
    return greatest


def outputs_of(policy: GreedyPolicy, inputs: Inputs[Array]) -> list[Floats]:
    """Return the policy's action values [B, A] and, of a recurrent one, its carries [B, C]."""
    obs = inputs["obs"][np.newaxis]
    if not policy.policy.is_recurrent:
        return [policy.policy.q_values(obs)[0]]
    previous = inputs.get("previous", np.zeros((obs.shape[1], 0), np.float32))
    memory = inputs["carry"][np.newaxis], previous[np.newaxis]
    return [output[0] for output in policy.policy.forward(obs, None, memory)]


def outputs_named(inputs: Inputs[Value]) -> list[str]:
    """Return the names of the outputs for some inputs."""
    return ["q_values", "next_carry"] if "carry" in inputs else ["q_values"]


def write_pt2(network: nn.Module, inputs: Inputs[Tensor], file: Path) -> Run:
    """Write a torch.export program; return a function that runs the file."""
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(
        network, tuple(inputs.values()), dynamic_shapes=dict.fromkeys(inputs, batch)
    )
    torch.export.save(program, file)
    module = torch.export.load(file).module()

    def run(*arrays: Array) -> Any:
        outputs = module(*map(torch.from_numpy, arrays))
        if isinstance(outputs, Tensor):
            return outputs.numpy(force=True)
        return [output.numpy(force=True) for output in outputs]

    return run


def write_onnx(network: nn.Module, inputs: Inputs[Tensor], file: Path) -> Run:
    """Write an ONNX graph; return a function that runs the file."""
    names = outputs_named(inputs)
    with quiet():
        import onnxruntime
        import onnxscript  # noqa: F401  torch reports it missing only after tracing

        torch.onnx.export(
            network,
            tuple(inputs.values()),
            file,
            input_names=list(inputs),
            output_names=names,
            dynamic_shapes={name: {0: "batch"} for name in inputs},
            dynamo=True,
            verbose=False,
            external_data=False,
        )
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(*arrays: Array) -> Any:
        outputs = session.run(names, dict(zip(inputs, arrays, strict=True)))
        return outputs if "carry" in inputs else outputs[0]

    return run


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporter, which warns of its internal calls and of packages that are not needed here."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


FORMATS: dict[str, Callable[[nn.Module, Inputs[Tensor], Path], Run]] = {
    ".onnx": write_onnx,
    ".pt2": write_pt2,
}
