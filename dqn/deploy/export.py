"""A policy's network as a file that other programs run without this package."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dqn.agent.numpy_forward import ActionValues
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.errors import UserError, first_line
from dqn.types import Array, Floats

TOLERANCE = 1e-4
"""The greatest difference from the policy, relative to its largest value where that is above 1."""

Run = Callable[[Array], Floats]


class OneSeed(nn.Module):
    """Observations [B, ...] to action values [B, A]: the seed axis does not leave this package."""

    def __init__(self, policy: GreedyPolicy) -> None:
        super().__init__()
        self.values = ActionValues(copy.deepcopy(policy.policy.network))
        for leaf in self.parameters():
            leaf.data = leaf.data.cpu().clone()  # a tensor of its own, where it was a part of one buffer
        self.eval()

    def forward(self, obs: Tensor) -> Tensor:
        values: Tensor = self.values(obs.unsqueeze(0)).squeeze(0)
        return values


def export(policy: GreedyPolicy, file: Path, obs: Array) -> float:
    """Write a file and return the greatest difference of its action values from the policy's.

    Args:
        policy: of one seed.
        file: its ending says which format: .onnx, or .pt2 of torch.export.
        obs: observations [B, ...] as the network reads them, which it is checked on.

    Raises:
        UserError: the format is none, a package is missing, the file could not be written, the network
            cannot be exported, or its values differ; then the file is not there.
    """
    if file.suffix not in FORMATS:
        raise UserError(f"{file}: should end in {' or '.join(FORMATS)}")
    unchecked = file.with_name(f".{file.stem}.unchecked{file.suffix}")
    try:
        unchecked.touch()  # torch would tell less of a folder that is missing or not to be written
        run = FORMATS[file.suffix](OneSeed(policy), torch.from_numpy(obs), unchecked)
        difference = compare(run, policy, obs)
        unchecked.replace(file)
    except UserError:
        raise
    except ModuleNotFoundError as error:
        raise UserError(f'{file}: a package is missing ({error}): pip install "dqn[export]"') from None
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error})") from None
    except Exception as error:  # what torch cannot trace, it tells by errors of any type
        reason = first_line(error)
        raise UserError(f"{file}: the network cannot be exported ({reason})") from error
    finally:
        unchecked.unlink(missing_ok=True)
    return difference


def compare(run: Run, policy: GreedyPolicy, obs: Array) -> float:
    """Return the greatest difference of the file's action values, of one observation and of many at once."""
    expected = policy.policy.q_values(obs[np.newaxis])[0]
    values = np.concatenate((run(obs[:1]), run(obs)))
    difference = float(np.abs(values - np.concatenate((expected[:1], expected))).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise UserError(f"the exported values differ from the policy's by {difference:.2g}")
    return difference


def write_pt2(network: nn.Module, obs: Tensor, file: Path) -> Run:
    """Write a program of torch.export; return what runs it from the file."""
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (obs[:2],), dynamic_shapes={"obs": batch})
    torch.export.save(program, file)
    module = torch.export.load(file).module()

    def run(obs: Array) -> Floats:
        values: Floats = module(torch.from_numpy(obs)).numpy(force=True)
        return values

    return run


def write_onnx(network: nn.Module, obs: Tensor, file: Path) -> Run:
    """Write an ONNX graph; return what runs it from the file."""
    with quiet():
        import onnxruntime
        import onnxscript  # noqa: F401  torch asks for it only once it has begun

    names: dict[str, Any] = {"input_names": ["obs"], "output_names": ["q_values"]}
    shapes = {"obs": {0: "batch"}}
    options: dict[str, Any] = {"dynamo": True, "verbose": False, "external_data": False}
    with quiet():
        torch.onnx.export(network, (obs[:2],), file, dynamic_shapes=shapes, **options, **names)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(obs: Array) -> Floats:
        values: Floats = session.run(["q_values"], {"obs": obs})[0]
        return values

    return run


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporter: it warns of its own calls and tells of packages that nothing here needs."""
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


FORMATS: dict[str, Callable[[nn.Module, Tensor, Path], Run]] = {".onnx": write_onnx, ".pt2": write_pt2}
