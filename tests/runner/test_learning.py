"""Learning on a small MDP whose values are known; and faults that must be seen by it."""

import numpy as np
import pytest
import torch
from envs import Chain
from helpers import config_of, make_runner

from dqn.config.paths import CONF

GAMMA = 0.9
WORDS = [
    *("env=document", "env.id=Chain-v0", "env.module=envs", "env.num_envs=8", "env.reward_scale=1"),
    *("env.time_limit_is_terminal=false", f"agent.gamma={GAMMA}", "agent.lr=2e-3"),
    *("runner=steps", "runner.total_steps=12000", "runner.iteration_length=6000", "runner.eval_episodes=0"),
    *("runner.learning_starts=4000", "runner.train_period=16", "runner.target_period=400"),
    *("runner.batch_size=512", "schedule=constant", "schedule.value=1"),
    *("agent/lr_schedule=to_zero", "agent.lr_schedule.duration=12000", "runner.target_tau=1"),
]


# what a method needs to be exact on this chain, whose returns lie in [0, 1]
SUPPORT = ["network.head.v_min=0", "network.head.v_max=1.5"]  # beyond the ends mass is lost, and 0 is valid
QUANTILES = ["network.head.huber_delta=0.001"]  # errors below it would make expectiles of quantiles
CORRECTED = ["memory.sampler.beta.start=1"]  # less lets chance outcomes weigh by how surprising they are
SOFT = ["agent.backup.temperature=0.1", "agent.backup.alpha=0.5"]  # with more the values take longer
FEW = [f"network.head.num_{kind}=8" for kind in ("samples", "target_samples", "action_samples")]
FEW += ["runner.batch_size=128"]
SMALL = ["network.torso.hidden_sizes=[32]", "runner.batch_size=256"]
LONG = ["runner.total_steps=24000", "agent.lr_schedule.duration=24000"]
PRESETS = {
    "dqn": [],
    "double": [],
    "dueling": [],
    "noisy": LONG,
    "n_step": LONG,
    "prioritized": CORRECTED,
    "c51": SUPPORT,
    "qrdqn": [*LONG, *QUANTILES, "network.head.num_quantiles=16"],
    "iqn": [*LONG, *QUANTILES, *FEW],
    "munchausen": SOFT,
    "m_qrdqn": [*LONG, *SOFT, *QUANTILES, "network.head.num_quantiles=16"],
    "m_iqn": [*LONG, *SOFT, *QUANTILES, *FEW],
    "dueling_double": [],
    "prioritized_double": CORRECTED,
    "rainbow": [*LONG, *SUPPORT, *CORRECTED, *SMALL, "runner.batch_size=128"],
    "rainbow_iqn": [*LONG, *QUANTILES, *FEW, *CORRECTED, "network.layer.sigma=0.1"],
}


def learned(tmp_path, words=(), change=lambda runner: None) -> np.ndarray:
    """Return the action values of all states [K, states, actions] after training."""
    runner = make_runner(tmp_path, [*WORDS, *words])
    change(runner)
    runner.run()
    return runner.agent.policy.q_values(np.arange(Chain.STATES, dtype=np.uint8)[None])


def error(q: np.ndarray, words=()) -> float:
    """Return the worst error of an action value, relative to the value of its state."""
    right = fixed_point(words)
    return float((np.abs(q - right) / right.max(1, keepdims=True)).max())


def fixed_point(words=()) -> np.ndarray:
    """Return what a method's values converge to under a random policy [states, actions], by iteration."""
    config = config_of([*WORDS, *words])
    n, backup = config["memory"]["reader"]["n_step"], config["agent"]["backup"]
    temperature = backup.get("temperature", 0.0)
    q = np.zeros((Chain.STATES, 2))
    for _ in range(3000):
        if temperature:
            log_pi = temperature * log_softmax(q / temperature)
            v = (np.exp(log_pi / temperature) * (q - log_pi)).sum(1)
            bonus = backup["alpha"] * np.clip(log_pi, backup["clip"], 0)
        else:
            v, bonus = q.max(1), 0.0
        for _ in range(n - 1):  # the later steps are the random policy's
            v = Chain.backup(v, GAMMA).mean(1)
        q = Chain.backup(v, GAMMA) + bonus
    return q


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def test_the_fixed_point_is_the_optimum_for_one_step():
    np.testing.assert_allclose(fixed_point(), Chain.optimal_values(GAMMA))


RECURRENT = {"drqn", "r2d2", "recurrent_rainbow"}
"""Presets whose values depend on the steps before; test_memory_of_the_past tries them."""
SUMS = {"m_qrdqn", "dueling_double", "prioritized_double", "rainbow_iqn", "m_iqn"}
"""Presets of two switches, each of which another preset here has; test_family tries them together."""


@pytest.mark.parametrize(
    "preset", [pytest.param(name, marks=[pytest.mark.slow] * (name in SUMS)) for name in PRESETS]
)
def test_values_are_those_of_the_methods_fixed_point(tmp_path, preset):
    words = [f"agent={preset}", *PRESETS[preset]]
    assert error(learned(tmp_path, words), words) < 0.05


def test_polyak_averages_learn_the_same(tmp_path):
    words = ["agent=double", "runner.target_tau=0.2", "runner.target_period=80"]
    assert error(learned(tmp_path, words)) < 0.05


LARGE = {
    "categorical": (1000, ["network.head.num_atoms=31", "network.head.v_min=0", "network.head.v_max=1500"]),
    "expected": (100, ["network.head.huber_delta=null", "agent.lr=1e-2"]),
}


@pytest.mark.parametrize("head", ["categorical", pytest.param("expected", marks=pytest.mark.slow)])
def test_rescaled_values_of_large_rewards(tmp_path, head):
    """Returns up to 1000 or 100. The mean of h, which one value per action learns, is within 1 % here."""
    scale, words = LARGE[head]
    words = [f"network/head={head}", "network.head.rescale=1e-3", *words, "runner.batch_size=256"]
    assert error(learned(tmp_path, [*words, f"env.reward_scale={scale}"]) / scale) < 0.05


def test_every_preset_is_tried():
    assert set(PRESETS) | RECURRENT == {path.stem for path in (CONF / "agent").glob("*.yaml")}


def test_a_target_without_discount_fails(tmp_path):
    def forget_termination(runner):
        sample = runner.memory.sample

        def forgetful(size):
            whole = sample(size)
            wrong = torch.full_like(whole.batch.discount, GAMMA)
            return whole._replace(batch=whole.batch._replace(discount=wrong))

        runner.memory.sample = forgetful

    assert error(learned(tmp_path, change=forget_termination)) > 0.05


def test_a_wrong_last_observation_fails(tmp_path):
    """Episodes are cut after four steps; the reset observation in place of the last one must show."""

    def confuse(runner):
        push = runner.memory.push
        runner.memory.push = lambda row: push(
            row._replace(next_obs=np.where(row.truncated, np.uint8(Chain.STATES - 1), row.next_obs))
        )

    words = ["+env.kwargs.max_episode_steps=4"]
    assert error(learned(tmp_path / "right", words)) < 0.05
    assert error(learned(tmp_path / "wrong", words, confuse)) > 0.05
