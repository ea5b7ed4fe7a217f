"""All options of conf/ pass the conformance checks, and each planted fault fails the right check."""

import shlex
from contextlib import nullcontext
from types import SimpleNamespace

import faults
import numpy as np
import pytest
from commands import call
from helpers import ROOT, USER, config_of, options

import dqn.agent.numpy_forward
from dqn.agent import Greedy
from dqn.cli.check import examine_config
from dqn.conformance import Finding, learning
from dqn.conformance.assertions import NotApplicable
from dqn.conformance.examine import PARTS, WHOLE

FAST = [check.name for check in PARTS]
WITHOUT_NETWORK = [check.name for check in PARTS if not check.key.startswith("network")]
GROUPS = ("memory", "network/streams", "network/head", "network/layer", "agent/backup", "agent/optimizer")
OPTIONS = [f"{group}={name}" for group in (*GROUPS, "schedule") for name in options(group)]
OPTIONS += ["agent=rainbow", "agent=m_iqn"]  # nearly all parts at once
SMALL = ["network.torso.hidden_sizes=[16]"]


def examined(*overrides: str, names=()) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine_config(config_of(overrides), names)}


def checks_for(key: str) -> list[str]:
    """Return the fast checks of a part; those of the network's parts see no other part."""
    return FAST if key.startswith(("network", "agent=")) else WITHOUT_NETWORK


def wrong(findings: dict[str, Finding]) -> list[str]:
    return [str(finding) for finding in findings.values() if finding.state == "FAILED"]


@pytest.mark.parametrize("override", OPTIONS)
def test_every_option_conforms(override):
    findings = examined(override, names=checks_for(override))
    assert wrong(findings) == []
    assert [name for name, finding in findings.items() if finding.state == "skipped"] == ["env"]


@pytest.mark.slow
@pytest.mark.parametrize("option", options("agent"))
def test_every_preset_conforms_as_a_whole(option):
    findings = examined(f"agent={option}")
    assert wrong(findings) == []
    assert [findings[name].detail for name in ("resume", "seed alone")] == ["bit for bit"] * 2


@pytest.mark.parametrize(
    "overrides",
    [
        ["agent=dqn", "env=frozenlake"],
        ["network/streams=dueling", "network/layer=noisy", "memory=prioritized", "memory/reader=n_step"],
        ["network/head=categorical", "network.head.rescale=1e-3", "agent/backup=munchausen"],
    ],
    ids=" ".join,
)
def test_some_conform_as_a_whole(overrides):
    findings = examined(*overrides, names=[check.name for check in WHOLE])
    assert wrong(findings) == []
    assert [finding.state for finding in findings.values()] == ["ok"] * len(WHOLE)
    assert [findings[name].detail for name in ("resume", "seed alone")] == ["bit for bit"] * 2


def test_images():
    """The chain's observations are stacks of images of the environment's shape."""
    env = ["env.module=envs", "env.id=Spaces-v0", "+env.kwargs.name=mixed", "env.frame_stack=2"]
    torso = ["network/torso=minatar", "network.torso.channels=[4]", "network.torso.hidden_sizes=[16]"]
    names = ["network.torso", "network", "acting", "memory", "learning"]
    findings = examined(*env, *torso, names=names)
    assert [finding.state for finding in findings.values()] == ["ok"] * len(names), findings


FAULTS = [
    ("network.layer", "GlobalNoise", "network.layer", "nothing should vary"),
    ("network.layer", "NoiseOfRng", "network.layer", "should come from the rng"),
    ("network.layer", "Passing", "network.layer", "shares memory with its input"),
    ("network.layer", "Squashing", "network.layer", "needs its result for the backward pass"),
    ("network.layer", "OneGenerator", "network.layer", "the generator of its seed"),
    ("network.torso", "BatchNormed", "network.torso", "other samples of the batch"),
    ("network.torso", "Narrow", "network.torso", "[1, 1, 15]; it should be [1, 1, 16]"),
    ("network.streams", "WrongMean", "network.streams", "other samples of the batch"),
    ("network.head", "MixedSeeds", "network.head", "seed 0 changed when the parameters of seed 1 did"),
    ("network.head", "NoDiscountHead", "distribution", "reward + discount * mean"),
    ("network.head", "BatchLossHead", "distribution", "loss of a sample"),
    ("network.head", "SignedPriorityHead", "distribution", "priority is less than 0"),
    ("network.head", "UnusedParameter", "gradient", "does not depend on the parameter head.unused"),
    ("agent.backup", "BatchBackup", "agent.backup", "policy of a sample changed when the other samples"),
    ("agent.backup", "BackupOfAllSeeds", "agent.backup", "policy of a sample changed when the other seed"),
    ("agent.backup", "NoisyBackup", "agent.backup", "policy of a sample changed when it was computed again"),
    ("agent.backup", "Unnormalized", "agent.backup", "should sum to 1"),
    ("agent.backup", "Unmasking", "agent.backup", "an invalid action has the probability 1; it should be 0"),
    ("agent.backup", "InPlace", "agent.backup", "q_next that it was given were changed"),
    ("agent.backup", "BonusOfEnds", "agent.backup", "where an episode terminated (discount 0)"),
    ("agent.backup", "Pessimist", "learning", "within 10 % of those of value iteration"),
    ("agent.backup", "ColumnOfValues", "agent.backup", "[2, 256, 1]; it should be [2, 256]: plain values"),
    ("agent.backup", "WrongMellowmax", "learning", "within 10 % of those of value iteration"),
    ("agent.backup", "Remembering", "resume", "stopped and resumed"),
    ("schedule", "Counter", "schedule", "should depend on the tick alone"),
    ("agent.lr_schedule", "TooLarge", "agent.lr_schedule", "a number from 0 to 1"),
    ("memory.sampler", "OwnRandomness", "memory.sampler", "dqn.seeding.stream"),
    ("memory.sampler", "OtherSeeds", "memory.sampler", "another seed's rows"),
    ("memory.sampler", "ZeroWeights", "memory.sampler", "weights lie from 0 to 0"),
    ("memory.sampler", "ForgetfulSampler", "memory.sampler", "state_dict"),
    ("memory.reader", "NoTermination", "memory.reader", "with its termination has discount 0.9"),
    ("memory.reader", "NextEpisode", "memory.reader", "none of its episode's next 1"),
    ("memory.reader", "LivesIgnored", "memory.reader", "with a lost life has discount 0.9; it should be 0"),
    ("memory", "Unpadded", "memory", "obs of a sample: the observations before the newest one in a stack"),
    ("memory", "LateAction", "memory", "was taken"),
    ("agent.optimizer", "AllSeeds", "agent.optimizer", "elementwise"),
    ("agent.optimizer", "ForgetfulOptimizer", "agent.optimizer", "state_dict"),
    ("agent", "AllSeedsAgent", "seed alone", "seed 1 alone"),
    ("agent", "MovingTarget", "gradient", "of the target network"),
]


@pytest.mark.parametrize(("key", "fault", "name", "text"), FAULTS, ids=[fault for _, fault, *_ in FAULTS])
def test_a_planted_fault_is_found(key, fault, name, text, monkeypatch):
    """Only the right check fails; checks that need the faulty part are skipped."""
    monkeypatch.setattr(learning, "LEARNING_RATES", (2e-3,))
    overrides = [*SMALL, "agent.lr=2e-3", f"{key}._target_=faults.{fault}"]
    overrides += ["schedule=constant"] * (key == "schedule") + ["env.frame_stack=3"] * (fault == "Unpadded")
    findings = examined(*overrides, names=[*checks_for(key), name])
    failed = [finding for finding in findings.values() if finding.state == "FAILED"]
    assert name in [finding.name for finding in failed], list(map(str, findings.values()))
    assert text in findings[name].detail
    if findings[name].part:
        assert findings[name].part in (f"faults.{fault}", "dqn.agent.Agent")
    assert len(failed) == 1, list(map(str, failed))


def test_a_torso_that_reads_the_image_alone_is_found():
    env = ["env.module=envs", "env.id=Spaces-v0", "+env.kwargs.name=mixed"]
    torso = ["network/torso=minatar", "network.torso._target_=faults.ImageAlone"]
    finding = examined(*env, *torso, names=["network.torso"])["network.torso"]
    assert "do not depend on the last of the vector_size numbers behind an image" in finding.detail


def test_a_recurrent_preset_conforms():
    reader = ["memory.reader.length=8", "memory.reader.period=4", "memory.reader.burn_in=4"]
    findings = examined("agent=r2d2", *reader, *SMALL, "network.core.units=8", names=FAST)
    assert wrong(findings) == []
    assert [name for name, finding in findings.items() if finding.state == "skipped"] == ["env"]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("MixedCore", "the output of seed 0 changed when the parameters of seed 1 did"),
        ("KeepingCore", "the same input gave different outputs"),
        ("DetachedCore", "no gradient of the features of the last step reaches the input of the first one"),
        ("WideCore", "out_features is 9 and carry_size is 8"),
    ],
)
def test_a_fault_of_a_core_is_found(fault, text):
    core = ["network/core=gru", "network.core.units=8", f"network.core._target_=faults.{fault}"]
    findings = examined(*SMALL, *core, names=["network.core", "network", "gradient"])
    assert [finding.state for finding in findings.values()] == ["FAILED", "skipped", "skipped"]
    assert text in findings["network.core"].detail
    assert findings["network.core"].part == f"faults.{fault}"


def test_every_kind_of_part_has_a_fault():
    kinds = (
        {"network.core"}
        | {key for key, *_ in FAULTS}
        | {"callbacks", "env", "memory.sampler.beta", "network"}
    )
    assert kinds >= {check.key for check in PARTS}
    assert all(hasattr(faults, fault) for _, fault, *_ in FAULTS)


@pytest.mark.parametrize(
    ("id", "text"), [("Unseeded-v0", "not equivalent for the same seed"), ("Outside-v0", "AssertionError")]
)
def test_a_fault_of_an_environment_is_found(id, text):
    finding = examined("env.module=faults", f"env.id={id}", names=["env"])["env"]
    assert finding.state == "FAILED"
    assert text in finding.detail


def test_masks_of_an_environment_are_checked():
    words = ["env.module=envs", "env.id=Masked-v0", "env.action_mask=info"]
    assert examined(*words, names=["env"])["env"].state == "ok"
    finding = examined(*words, "+env.kwargs.wrong=[0,0,0,0]", names=["env"])["env"]
    assert finding.state == "FAILED"
    assert "step 3 of its episode 1: the action_mask [0, 0, 0, 0] allows no action" in finding.detail


MEMORIES = [
    # overrides, and what is found
    (["agent=dqn", "memory/reader=n_step", "env.frame_stack=2"], ""),
    (["agent=drqn", "memory.reader.length=4", "memory.reader.period=2", "network.core.units=8"], ""),
    (["memory._target_=faults.SwappedMasks"], "mask of a sample is not the mask of its obs"),
    (["memory._target_=faults.LostMask"], "next_mask of a batch is None; it should be a tensor of bool"),
]


@pytest.mark.parametrize(("overrides", "text"), MEMORIES, ids=[" ".join(one) for one, _ in MEMORIES])
def test_masks_in_memory_are_checked(overrides, text):
    words = ["env.module=envs", "env.id=Masked-v0", "env.action_mask=info", *SMALL]
    finding = examined(*words, *overrides, names=["memory"])["memory"]
    assert finding.state == ("FAILED" if text else "ok"), finding
    assert text in finding.detail


def test_a_fault_of_a_wrapper_is_found():
    wrapper = "env.wrappers=[{_target_: wrapped.times, factor: 1.0e+99}]"
    finding = examined(wrapper, names=["env"])["env"]
    assert finding.state == "FAILED"
    assert finding.detail.endswith(
        "step 1 of its episode 1: the reward 1e+99 should be one finite number of at most 3.4e+38"
    )


def test_actions_by_other_values_are_found(monkeypatch):
    """A network traced with the values of its parameters acts by outdated ones after an update."""
    monkeypatch.setattr(dqn.agent.numpy_forward, "traceable", lambda values: nullcontext())
    finding = examined("network/head=implicit_quantile", names=["acting"])["acting"]
    assert finding.state == "FAILED"
    assert "after the parameters changed" in finding.detail


@pytest.mark.parametrize(
    ("omega", "scale", "backup"), [(5.0, 2.0, "Mellowmax"), (10.0, 1.0, "Mellowmax"), (None, 1.0, "Greedy")]
)
def test_the_fixed_point_of_a_backup(omega, scale, backup, monkeypatch):
    """By hand, sweep by sweep; in units of scaled returns a larger omega is a smaller one."""
    monkeypatch.syspath_prepend(USER)
    from my_package.parts import Mellowmax

    found = learning.fixed_point(Greedy() if omega is None else Mellowmax(omega=omega), scale)
    q = np.zeros((5, 2))
    for _ in range(300):
        v = q.max(1) if omega is None else np.log(np.exp(10 * q).mean(1)) / 10
        right = 0.9 * np.append(v[1:], 1 / 0.9)
        left = 0.9 * np.insert(v[:-1], 0, 0.5 / 0.9)
        q = np.stack((0.9 * left + 0.1 * right, 0.9 * right + 0.1 * left), 1)
    np.testing.assert_allclose(found, q, rtol=1e-6)


def test_a_backup_whose_values_are_not_known_is_not_compared():
    unknown = SimpleNamespace(state_values=lambda q: None)
    with pytest.raises(NotApplicable, match="its values are not known"):
        learning.fixed_point(unknown, 1.0)


def test_command(monkeypatch, tmp_path):
    """The tutorial's second command, of parts that are not in its recipe."""
    monkeypatch.syspath_prepend(USER)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_conf").symlink_to(USER / "my_conf")
    page = ROOT / "docs" / "tutorials" / "your_own_part.md"
    command = next(
        line for line in page.read_text().splitlines() if "check.py" in line and "mellowmax" in line
    )
    done = call("check", *shlex.split(command)[2:])
    assert done.code == 0, done.text
    lines = done.text.splitlines()
    assert len(lines) == len(PARTS) + len(WHOLE) - 3  # there are no core, no beta and no callbacks
    assert all(line.startswith("ok ") for line in lines), done.text
    assert "my_package.parts.Mellowmax" in done.text
    (tmp_path / "my_conf").unlink()
    assert list(tmp_path.iterdir()) == []


def test_command_with_a_fault_or_a_mistake():
    done = call("check", "agent.backup._target_=faults.Unnormalized", *SMALL)
    assert done.code == 1
    assert "FAILED  agent.backup         faults.Unnormalized: the probabilities" in done.text
    assert "skipped resume               fix agent.backup first" in done.text
    done = call("check", "agent.backup=gredy")
    assert done.code == 1
    assert "1 mistake" in done.text
