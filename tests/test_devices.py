"""The devices of a run: names, what this machine has, numbers that a device lacks, and resuming elsewhere."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from commands import call
from helpers import FINISHED, TINY_STEPS, config_of, train_run
from torch.overrides import TorchFunctionMode

import dqn
from dqn import devices
from dqn.config.validate import check

LACKING = {torch.float64, torch.uint16, torch.uint32}


class OnTheCpu(TorchFunctionMode):
    """Makes and moves the tensors of another device on the CPU, and records their types."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.device, self.dtypes = torch.device(name), set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.pin_memory:  # needs CUDA
            return args[0]
        given = [*args, *(kwargs or {}).values()]
        args = tuple(self.replaced(one) for one in args)
        result = func(*args, **{key: self.replaced(one) for key, one in (kwargs or {}).items()})
        if any(one is self.device or one == self.device for one in given if isinstance(one, torch.device)):
            self.dtypes.add(result.dtype)
        return result

    def replaced(self, value: Any) -> Any:
        return torch.device("cpu") if isinstance(value, torch.device) and value == self.device else value


@pytest.fixture(params=["mps", "cuda:1"])
def elsewhere(request, monkeypatch):
    """Pretend that this machine has a device; its tensors are on the CPU."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: request.param == "mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param != "mps")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Model")
    return request.param


OVERRIDES = [*TINY_STEPS, "env=base", "env.id=Taxi-v4", "agent=munchausen", "network/layer=noisy"]
OVERRIDES += ["memory=prioritized", "runner.iteration_length=80", "runner.total_steps=80"]
"""Discrete observations of more than 256 kinds are stored as uint16, which mps lacks."""


def test_a_run_elsewhere_resumes_on_the_cpu(elsewhere, tmp_path, caplog):
    overrides = [*OVERRIDES, f"device={elsewhere}"]
    check(config_of(overrides)).raise_if_any()
    with OnTheCpu(elsewhere) as there:
        train_run(tmp_path, overrides)
    assert there.dtypes >= {torch.float32, torch.int64}
    if elsewhere == "mps":
        assert not there.dtypes & LACKING
    status = json.loads((tmp_path / "status.json").read_text())
    name = "mps" if elsewhere == "mps" else "cuda Model"
    assert status["versions"]["device"] == name
    assert call("resume", tmp_path, "runner.total_steps=160", "device=cpu").code == 0
    assert f"may not continue exactly; changed since it started: device {name} -> cpu" in caplog.text
    assert dqn.load(tmp_path).q_values(3).shape == (6,)
    assert json.loads((tmp_path / "status.json").read_text())["versions"]["device"] == "cpu"


def test_the_same_device_brings_no_warning(finished_run, caplog):
    call("resume", finished_run, "runner.total_episodes=6", "device=cpu")
    assert "may not continue exactly" not in caplog.text
    assert "device: cpu" in (finished_run / ".hydra" / "config.yaml").read_text()


def arrays() -> list[np.ndarray]:
    return [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((2, 3, 4), np.uint8), np.array([[1, 2]])]


def tensors_on(device: str, given: list[np.ndarray]) -> list[torch.Tensor]:
    return [devices.to_device(torch.from_numpy(array), torch.device(device)) for array in given]


def test_on_the_cpu_tensors_share_the_memory_of_arrays():
    given = arrays()
    assert [one.data_ptr() for one in tensors_on("cpu", given)] == [array.ctypes.data for array in given]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_a_gpu_tensors_are_copies_of_arrays():
    """The arrays may be written over at once: what was copied before is what they were."""
    given = [*arrays(), np.random.default_rng(0).random((64, 2**18))]
    expected = [array.copy() for array in given]
    tensors = tensors_on("cuda", given)
    for array in given:
        array[:] = 99
    for tensor, array in zip(tensors, expected, strict=True):
        assert tensor.is_cuda
        np.testing.assert_array_equal(tensor.cpu().numpy(), array)


@pytest.mark.parametrize("dtype", [np.float64, np.uint16, np.uint32])
def test_numbers_that_mps_lacks(dtype):
    given = torch.from_numpy(np.array([0, 1, 40_000], dtype))
    found = devices.holdable(given, torch.device("mps"))
    assert found.dtype not in LACKING
    assert found.tolist() == given.tolist()
    assert devices.holdable(given, torch.device("cuda:1")) is given


MACHINES = [
    # device, CUDA devices of the machine, whether it has mps, what device should be
    (
        "cuda",
        0,
        True,
        "auto or cpu: this machine has no usable CUDA device; this torch was built without CUDA",
    ),
    ("cuda:0", 0, False, "auto or cpu: this machine has no usable CUDA device"),
    ("cuda:1", 1, False, "cuda:0: this machine has 1 CUDA device"),
    ("cuda:7", 2, False, "cuda:0 to cuda:1: this machine has 2 CUDA devices"),
    ("mps", 2, False, r"auto or cpu: torch finds no Apple GPU \(mps\) on this machine"),
    *((name, 2, True, None) for name in ("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps")),
    *((name, 0, False, None) for name in ("auto", "cpu")),
]


@pytest.mark.parametrize(("name", "count", "has_mps", "should"), MACHINES)
def test_what_a_machine_has(monkeypatch, name, count, has_mps, should):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    config = config_of(FINISHED) | {"device": name}
    if should is None:
        assert check(config).problems == []
        expected = {"auto": "cuda" if count else "cpu"}.get(name, name)
        assert devices.find_device(name) == torch.device(expected)
        return
    with pytest.raises(dqn.UserError, match=f"device={name}: should be {should}"):
        check(config).raise_if_any()
    with pytest.raises(dqn.UserError, match=f"device={name}: should be {should}"):
        devices.find_device(name)


def test_hidden_devices_are_named(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.absence("cuda:3") == (
        "should be cuda:0: this machine has 1 CUDA device that CUDA_VISIBLE_DEVICES leaves"
    )


def test_nothing_is_compiled_for_mps(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    problems = check(config_of([*FINISHED, "device=mps", "agent.compile=true"])).problems
    assert [str(one) for one in problems] == [
        "agent.compile=true: should be false or auto: torch's compiler was not tried on device=mps"
    ]


@pytest.mark.parametrize(
    ("name", "capability", "should"),
    [
        ("mps", None, "should be float32: bfloat16 was not tried on device=mps"),
        ("cuda:1", (7, 5), "should be float32: Model has no arithmetic in bfloat16"),
        ("cuda:1", (8, 0), None),
        ("cpu", None, None),
    ],
)
def test_bfloat16_where_a_device_has_it(monkeypatch, name, capability, should):
    monkeypatch.setattr(devices, "absence", lambda name: None)
    monkeypatch.setattr("dqn.config.validate.absence", lambda name: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Model")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    checked = check(config_of([*FINISHED, f"device={name}", "agent.precision=bfloat16"]))
    found = [one.should for one in checked.problems if one.key == "agent.precision"]
    assert found == ([should] if should else [])
    assert any("it is made for GPUs" in warning for warning in checked.warnings) == (name == "cpu")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are fewer than two CUDA devices")
def test_a_run_on_the_second_cuda_device(tmp_path):
    train_run(tmp_path, [*OVERRIDES, "device=cuda:1"])
    assert call("evaluate", tmp_path, "episodes=1").code == 0


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="there is no Apple GPU")
def test_a_run_on_an_apple_gpu(tmp_path):
    train_run(tmp_path, [*OVERRIDES, "device=mps"])
    assert call("evaluate", tmp_path, "episodes=1").code == 0
