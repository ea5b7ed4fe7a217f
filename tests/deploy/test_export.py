"""Exported policies: what is in the file, and what stands in its way."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from commands import call, tree
from helpers import FINISHED, config_of

import dqn
from dqn.config.build import build_policy
from dqn.config.wrappers import env_factory
from dqn.deploy import export
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.errors import install

EXTRA = all(importlib.util.find_spec(name) for name in ("onnxruntime", "onnxscript"))
needs_extra = pytest.mark.skipif(not EXTRA, reason="the extra `export` is not installed")
FILES = [
    ("discrete", ".pt2"),
    ("bytes", ".pt2"),
    ("dict", ".pt2"),
    ("module", ".pt2"),
    ("stacks", ".pt2"),
    pytest.param("discrete", ".onnx", marks=needs_extra),
    pytest.param("stacks", ".onnx", marks=needs_extra),
]
"""A dict becomes numbers before the network, which both formats get alike; ONNX takes long to write."""
MODULE = ["network/torso=module", "network.torso.module={_target_: modules.Conv, channels: 2, width: 8}"]
TRUST = ["--trust", "envs", "--trust", "modules"]
WORDS = [*FINISHED, "env.module=envs", "env.id=Spaces-v0", "num_seeds=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with runs of several spaces."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("discrete", "bytes", "dict"):
        dqn.train([*WORDS, f"+env.kwargs.name={name}", f"hydra.run.dir={folder / name}"])
    words = [*WORDS, "env.frame_stack=3", "network.head.rescale=1e-3", "+env.kwargs.name=bytes"]
    dqn.train([*words, f"hydra.run.dir={folder / 'stacks'}"])
    words = [word for word in WORDS if not word.startswith("network.torso")]
    dqn.train([*words, *MODULE, "+env.kwargs.name=bytes", f"hydra.run.dir={folder / 'module'}"])
    return folder


def run_file(file, obs):
    """Return the action values of a file, by what reads it without this package."""
    if file.suffix == ".pt2":
        return torch.export.load(file).module()(torch.from_numpy(obs)).numpy(force=True)
    import onnxruntime

    return onnxruntime.InferenceSession(file).run(None, {"obs": obs})[0]


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_file_is_the_policy(folder, tmp_path, name, suffix):
    file = tmp_path / f"policy{suffix}"
    result = call("export", folder / name, file, "seed=1", *TRUST)
    assert result.code == 0, result.text
    difference = float(result.text.split("on 1,000 observations of Spaces-v0: ")[1])
    assert difference < 1e-6
    text = "observations [B, 3, 4, 4, 1] of uint8 to action values [B, 3], by the network of seed 1"
    assert (text in result.text) == (name == "stacks")
    assert ("each is the latest 3 of an episode, the newest last" in result.text) == (name == "stacks")
    assert list(tree(tmp_path)) == [file.name]
    policies = [dqn.load(folder / name, seed=seed, trust=["envs", "modules"]) for seed in (0, 1)]
    space = policies[0].observation_space
    space.seed(0)
    for count in (1, 5):
        obs = [space.sample() for _ in range(count)]
        batch = obs if isinstance(obs[0], dict) else np.stack(obs)
        values = run_file(file, policies[1].encode(batch))
        np.testing.assert_allclose(values, policies[1].q_values(batch), rtol=1e-4, atol=1e-5)
        assert not np.allclose(values, policies[0].q_values(batch), rtol=1e-2)


@pytest.mark.parametrize(
    ("torso", "streams", "suffix"),
    [
        ("relu", "tanh", ".pt2"),
        ("elu", "gelu", ".pt2"),
        ("silu", "silu", ".pt2"),
        pytest.param("tanh", "elu", ".onnx", marks=needs_extra),
    ],
)
def test_every_activation_takes_batches_of_any_size(tmp_path, torso, streams, suffix):
    words = ["network.streams.hidden_sizes=[5]", f"network.streams.activation={streams}"]
    words += ["network.torso.hidden_sizes=[6]", f"network.torso.activation={torso}"]
    config = config_of(words)
    factory = env_factory(config["env"])
    policy = GreedyPolicy(
        **{"policy": build_policy(config, spec=factory.spec, seeds=[4]), "factory": factory},
        **{"seed": 4, "iteration": 0, "selected": None},
    )
    obs, file = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32), tmp_path / f"x{suffix}"
    assert export.export(policy, file, {"obs": obs}) < 1e-6
    np.testing.assert_allclose(run_file(file, obs[:7]), policy.q_values(obs[:7]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("policy.txt", "policy.txt: should end in .onnx or .pt2"),
        ("policy", "should end in .onnx or .pt2"),
        ("nowhere/policy.pt2", "cannot be written"),
        ("policy.pt2 seed=2", "seed=2: the run has the seeds 0 to 1"),
        ("policy.pt2 seed=true", "seed=true: should be a whole number, not true or false"),
        ("policy.pt2 sead=1", "sead=1: no such key; did you mean seed? there are seed, policy"),
        ("policy.pt2 policy=worst", "policy=worst: should be 'last' or 'best'"),
        ("policy.pt2 policy=best", "policy=best: the run has had no periodic evaluation"),
    ],
)
def test_mistakes(folder, tmp_path, monkeypatch, words, right):
    monkeypatch.chdir(tmp_path)
    result = call("export", folder / "discrete", *words.split(), "--trust", "envs")
    assert result.code == 1
    assert right in result.text
    assert tree(tmp_path) == {}


def test_not_without_trust(folder, tmp_path):
    result = call("export", folder / "discrete", tmp_path / "policy.pt2")
    assert result.code == 1
    assert "--trust envs" in result.text


def test_missing_extra(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = call("export", folder / "discrete", tmp_path / "policy.onnx", "--trust", "envs")
    assert result.code == 1
    assert install("export") in result.text
    assert tree(tmp_path) == {}


def write_wrong(network, inputs, file):
    file.write_text("wrong")
    return lambda obs: network(torch.from_numpy(obs)).numpy(force=True) + 0.01


def write_nan(network, inputs, file):
    return lambda obs: np.full((len(obs), 3), np.nan, np.float32)


def write_nothing(network, inputs, file):
    """Raise as torch does for ONNX: an error in colours, whose first cause says what was wrong."""
    try:
        raise NotImplementedError("\x1b[96mno such operation\x1b[0m\nin a long report")
    except NotImplementedError as error:
        raise RuntimeError("\x1b[96mThis is step 1/3\x1b[0m of exporting") from error


EXPORTED = "exported (NotImplementedError: no such operation (test_export.py, line "


@pytest.mark.parametrize(
    ("write", "right"),
    [(write_wrong, "by 0.01"), (write_nan, "by nan"), (write_nothing, EXPORTED)],
)
def test_wrong_values_leave_no_file(folder, tmp_path, monkeypatch, write, right):
    monkeypatch.setitem(export.FORMATS, ".pt2", write)
    (tmp_path / "policy.pt2").write_text("before")
    before = tree(tmp_path)
    result = call("export", folder / "bytes", tmp_path / "policy.pt2", "--trust", "envs")
    assert result.code == 1
    assert right in result.text + "\n"
    assert tree(tmp_path) == before
