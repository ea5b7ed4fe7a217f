"""Export of a policy's network to a file that runs without this package."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from dqn.agent.numpy_forward import ActionValues
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.errors import UserError, cause_of, install
from dqn.types import Array, Bools, Floats

TOLERANCE = 1e-4
"""Greatest allowed difference from the policy's values, relative to the largest one if that is above 1."""

BATCH = 100
"""Observations that are compared at once; convolutions of many take much memory."""

Value = TypeVar("Value", Tensor, Array)
Inputs = Mapping[str, Value]
"""Observations as "obs" and, where the policy needs them, masks as "mask", in this order."""

Run = Callable[..., Floats]
"""Computes the action values [B, A] of inputs in their order."""


class OneSeed(nn.Module):
    """The network of one seed, from observations [B, ...] to action values [B, A], without the seed axis.

    Given masks [B, A], the values of invalid actions are -inf.
    """

    def __init__(self, policy: GreedyPolicy) -> None:
        super().__init__()
        self.values = ActionValues(copy.deepcopy(policy.policy.network))
        for leaf in self.parameters():
            leaf.data = leaf.data.cpu().clone()  # a separate tensor, no longer a view of the common buffer
        self.eval()

    def forward(self, obs: Tensor, mask: Tensor | None = None) -> Tensor:
        values: Tensor = self.values(obs.unsqueeze(0)).squeeze(0)
        return values if mask is None else values.masked_fill(~mask, -torch.inf)


def export(policy: GreedyPolicy, file: Path, obs: Array, mask: Bools | None) -> float:
    """Write a file and return the greatest difference between its action values and the policy's.

    Args:
        policy: the policy of one seed.
        file: its suffix chooses the format: .onnx, or .pt2 for torch.export.
        obs: observations [B, ...] as the network reads them, on which the file is checked.
        mask: their valid actions [B, A]; None if the policy needs no masks.

    Raises:
        UserError: the suffix is unknown, a package is missing, the file could not be written, the network
            cannot be exported, or the values differ too much. No file is left then.
    """
    if file.suffix not in FORMATS:
        raise UserError(f"{file}: should end in {' or '.join(FORMATS)}")
    unchecked = file.with_name(f".{file.stem}.unchecked{file.suffix}")
    try:
        unchecked.touch()  # the error for a folder that is missing or read-only is clearer than torch's
        inputs = {"obs": obs} if mask is None else {"obs": obs, "mask": mask}
        examples = {name: torch.from_numpy(array[:2]) for name, array in inputs.items()}
        run = FORMATS[file.suffix](OneSeed(policy), examples, unchecked)
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
    """Return the greatest difference from the policy's values, for one observation and for batches."""
    obs, mask = inputs["obs"], inputs.get("mask")
    slices = [slice(1), *(slice(i, i + BATCH) for i in range(0, len(obs), BATCH))]
    given = np.concatenate([run(*(array[part] for array in inputs.values())) for part in slices])
    expected = np.concatenate([policy.policy.q_values(obs[np.newaxis, part])[0] for part in slices])
    if mask is not None:
        valid = np.concatenate([mask[part] for part in slices])
        if not (given[~valid] == -np.inf).all():
            raise UserError("the exported values of invalid actions are not -inf")
        given, expected = given[valid], expected[valid]
    difference = float(np.abs(given - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise UserError(f"the exported values differ from the policy's by {difference:.2g}")
    return difference


def write_pt2(network: nn.Module, inputs: Inputs[Tensor], file: Path) -> Run:
    """Write a torch.export program; return a function that runs the file."""
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(
        network, tuple(inputs.values()), dynamic_shapes=dict.fromkeys(inputs, batch)
    )
    torch.export.save(program, file)
    module = torch.export.load(file).module()
    return lambda *arrays: module(*map(torch.from_numpy, arrays)).numpy(force=True)


def write_onnx(network: nn.Module, inputs: Inputs[Tensor], file: Path) -> Run:
    """Write an ONNX graph; return a function that runs the file."""
    with quiet():
        import onnxruntime
        import onnxscript  # noqa: F401  torch reports it missing only after tracing

        torch.onnx.export(
            network,
            tuple(inputs.values()),
            file,
            input_names=list(inputs),
            output_names=["q_values"],
            dynamic_shapes={name: {0: "batch"} for name in inputs},
            dynamo=True,
            verbose=False,
            external_data=False,
        )
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda *arrays: session.run(["q_values"], dict(zip(inputs, arrays, strict=True)))[0]


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
