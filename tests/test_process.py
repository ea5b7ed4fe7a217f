"""How a process computes."""

import os
import platform
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from helpers import config_of, train_run

from dqn import process
from dqn.config.wrappers import env_factory
from dqn.network import Linear
from dqn.runner.video import Camera
from dqn.storage.checkpoint import Checkpoint


def test_tiny_numbers_are_nought_while_it_trains_and_not_after():
    tiny = torch.full((16,), 1e-30)
    with process.preserve_settings():
        torch.set_flush_denormal(False)
        assert not process.flushes_denormals()
        assert float((tiny * 1e-10).max()) > 0
        with process.preserve_settings():
            process.configure_process(2)
            assert torch.get_num_threads() == 2
            assert process.flushes_denormals()
            assert float((tiny * 1e-10).max()) == 0
            assert (np.float32(1e-30) * np.full(16, 1e-10, np.float32)).max() == 0
        assert not process.flushes_denormals()
        assert float((tiny * 1e-10).max()) > 0


def test_cuda_computes_the_same_in_every_process(monkeypatch):
    cudnn = torch.backends.cudnn
    monkeypatch.delenv(process.CUBLAS_WORKSPACE, raising=False)
    monkeypatch.setattr(cudnn, "benchmark", True)
    monkeypatch.setattr(cudnn, "deterministic", False)
    with process.preserve_settings():
        process.configure_process(1)
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
        assert os.environ[process.CUBLAS_WORKSPACE] == ":4096:8"
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)
    assert process.CUBLAS_WORKSPACE not in os.environ


FAULTS = """
import resource, torch
from dqn import process
process.configure_process(1)
for _ in range(160):
    torch.ones(2**22)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.process
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's C library is told to keep memory")
def test_freed_memory_is_used_again():
    """160 times 16 MiB are 655,000 pages, which would all be met anew; what is kept has settled soon."""
    # of larger ones an older library would keep none
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300_000


PILES = """
from dqn import process, system
process.configure_process(1)
process.MOST_KEPT = 2**26
trimmer = process.MallocTrimmer()
pieces = [b"x" * 2**16 for _ in range(3200)]
pieces = pieces[::8]
late = process.MallocTrimmer()
before = system.resident()
late.trim()
print(before - system.resident())
trimmer.trim()
print(before - system.resident())
"""


@pytest.mark.process
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's C library is told to keep memory")
def test_memory_that_piles_up_between_what_is_in_use_is_given_back():
    """An eighth of 200 MiB stays in use, so nothing can go but what lies between."""
    done = subprocess.run([sys.executable, "-c", PILES], capture_output=True, text=True, check=True)
    kept, given = map(int, done.stdout.split())
    assert kept < 2**22
    assert given > 150 * 2**20


class Foreign(gymnasium.Env):
    """An environment that relies on other defaults of torch and NumPy, which it sets if `sets`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012  gymnasium's own way
    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, sets: bool, render_mode: str | None = None) -> None:
        self.sets, self.render_mode = sets, render_mode
        if sets:
            torch.set_default_dtype(torch.float64)
            torch.set_default_device("meta")
            torch.set_grad_enabled(False)
            torch.set_num_threads(3)
            np.seterr(all="raise")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.np_random.random(3, np.float32), {}

    def step(self, action):
        self.t += 1
        assert not self.sets or torch.zeros(1).dtype == torch.float64
        return self.np_random.random(3, np.float32), 1e-40, self.t == 7, False, {}

    def render(self):
        return np.zeros((2, 2, 3), np.uint8)


class Adding(Linear):
    """A layer that makes a tensor of the default dtype in each pass."""

    def forward(self, x, rng):
        return super().forward(x, rng) + torch.ones(1, device=x.device)


gymnasium.register("Foreign-v0", Foreign)


@pytest.fixture
def _defaults():
    """Restore what `Foreign` sets."""
    with process.preserve_settings(), torch.enable_grad():
        yield
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


@pytest.mark.usefixtures("_defaults")
@pytest.mark.parametrize(
    "parts", ["agent=rainbow", "network/head=implicit_quantile network.layer._target_=test_process.Adding"]
)
def test_what_an_environment_sets_changes_no_number(tmp_path, parts):
    words = [
        *("env=base", "env.id=Foreign-v0", "runner=steps", "runner.total_steps=24", "runner.batch_size=4"),
        *("runner.iteration_length=12", "runner.learning_starts=10", "runner.eval_episodes=1"),
        *("network.torso.hidden_sizes=[4]", *parts.split()),
    ]
    policies = []
    for sets in (False, True):
        folder = tmp_path / str(sets)
        train_run(folder, [*words, f"+env.kwargs.sets={sets}"])
        assert torch.get_num_threads() == 1
        policies.append(Checkpoint(folder).load("policy"))
    for name, leaf in policies[0].items():
        assert leaf.dtype == torch.float32
        assert torch.equal(leaf, policies[1][name])


@pytest.mark.usefixtures("_defaults")
def test_a_filmed_environment_sets_nothing():
    torch.set_num_threads(1)
    factory = env_factory(config_of(["env=base", "env.id=Foreign-v0", "+env.kwargs.sets=True"])["env"])
    Camera(factory=factory, seeds=range(1), max_steps=5).check()
    assert torch.get_num_threads() == 1
    assert np.geterr()["under"] != "raise"
