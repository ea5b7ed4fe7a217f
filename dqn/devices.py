"""The devices that networks compute on: their names, whether this machine has them, and what they lack."""

import os
import re
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import Tensor

from dqn.errors import WrongValue

NAMES = re.compile(r"auto|cpu|mps|cuda(:(0|[1-9]\d{0,2}))?")

LACKING = {
    "mps": {torch.float64: torch.float32, torch.uint16: torch.int32, torch.uint32: torch.int64},
}
"""By type of device, the numbers that it cannot hold, and those that replace them; float64 is rounded."""


def valid_name(name: str) -> str:
    """Return the name of a device; ValueError if it is none."""
    if not NAMES.fullmatch(name):
        raise ValueError("should be auto, cpu, cuda, cuda:N or mps")
    return name


DeviceName = Annotated[str, AfterValidator(valid_name)]


def absence(name: str) -> str | None:
    """Return what a device that this machine lacks should be instead; None if it has the device."""
    kind, _, index = name.partition(":")
    if kind == "mps" and not torch.backends.mps.is_available():
        return "should be auto or cpu: torch finds no Apple GPU (mps) on this machine"
    if kind != "cuda":
        return None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    hidden = " that CUDA_VISIBLE_DEVICES leaves" if "CUDA_VISIBLE_DEVICES" in os.environ else ""
    if count == 0:
        reason = "" if torch.version.cuda else "; this torch was built without CUDA"
        return f"should be auto or cpu: this machine has no usable CUDA device{hidden}{reason}"
    if index and int(index) >= count:
        known = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        return f"should be {known}: this machine has {count} CUDA device{'s' * (count > 1)}{hidden}"
    return None


def bfloat16_obstacle(device: torch.device) -> str | None:
    """Return why a device should not compute in bfloat16; None if it can."""
    if device.type == "mps":
        return "bfloat16 was not tried on device=mps"
    if device.type == "cuda" and not torch.version.hip and torch.cuda.get_device_capability(device) < (8, 0):
        return f"{torch.cuda.get_device_name(device)} has no arithmetic in bfloat16"
    return None


def find_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is CUDA's current one if there is one, else the CPU.

    Raises:
        WrongValue: this machine has no such device.
    """
    if should := absence(name):
        raise WrongValue("device", name, should)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def description(device: torch.device) -> str:
    """Return the type and model of a device, on which the rounding of numbers depends."""
    return f"cuda {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, with numbers that the device can hold; on the CPU it shares memory.

    Copies to CUDA use pinned memory and do not block; torch keeps that memory until they have finished.
    """
    if device.type == "cpu":
        return tensor
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return holdable(tensor, device).to(device)


def holdable(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor with numbers that a device can hold."""
    return tensor.to(LACKING.get(device.type, {}).get(tensor.dtype, tensor.dtype))
