"""Runs of recurrent networks: what is learned from is what acted."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers import make_runner

from dqn.agent.numpy_forward import TorchForward
from dqn.agent.recall import Recall
from dqn.runner import Runner
from dqn.types import Row

SMALL = [
    *("runner=steps", "runner.total_steps=400", "runner.iteration_length=200", "runner.eval_episodes=0"),
    *("network.torso.hidden_sizes=[8]", "network.core.units=6", "network.sees_action=true"),
    *("memory.reader.length=4", "memory.reader.period=2", "env.time_limit_is_terminal=false"),
    *("schedule=constant", "schedule.value=0.3", "num_seeds=2", "env.num_envs=2"),
]


def collected(runner: Runner, ticks: int) -> Iterator[Row]:
    """Play one iteration without learning."""
    while ticks:
        step = runner.collector.collect(0.3, ticks)
        ticks -= step.ticks
        yield step.row


def played(runner: Runner) -> dict[tuple[float, ...], tuple[Any, ...]]:
    """Play two iterations without learning; return by observation what was collected.

    It is the carry before the step, whether the step terminates, and the observation that it returned.
    """
    found = {}
    for iteration in range(2):
        runner.collector.start(iteration)
        for row in collected(runner, 120):
            runner.memory.push(row)
            assert row.carry is not None
            for at in np.ndindex(row.active.shape):
                found[tuple(row.obs[at])] = row.carry[at].copy(), row.terminated[at], row.next_obs[at]
        runner.env.close()
    return found


@pytest.mark.parametrize("core", ["gru", "lstm"])
@pytest.mark.parametrize(
    ("stored", "burn_in"), [("true", 0), ("true", 3), ("false", 8)], ids=["stored", "burn-in", "whole"]
)
def test_state_in_learning_is_that_in_acting(tmp_path, core, stored, burn_in):
    """From the stored carry, after a burn-in, and after one from zeros over the whole of an episode."""
    (tmp_path / "records").mkdir()
    recorder = ["env.id=Recorder-v0", "env.module=envs", f"+env.kwargs.folder={tmp_path / 'records'}"]
    words = [f"memory.reader.stored_state={stored}", f"memory.reader.burn_in={burn_in}"]
    runner = make_runner(tmp_path, [f"network/core={core}", *SMALL, *recorder, *words])
    steps = played(runner)
    batch = runner.memory.sample(200).batch
    assert batch.window is not None
    with torch.no_grad():
        features = runner.agent.online.unroll(batch.obs, batch.window, None).numpy()
    share = batch.window.share.numpy().reshape(2, 4, -1)
    following = batch.window.following.numpy().reshape(2, 4, -1)
    obs, discount = batch.obs.numpy()[:, burn_in:], batch.discount.numpy().reshape(2, 4, -1)
    compared = truncated = 0
    for k, j, b in zip(*np.nonzero(share), strict=True):
        _, terminated, next_obs = steps[tuple(obs[k, j, b])]
        np.testing.assert_array_equal(obs[k, following[k, j, b] // share.shape[-1], b], next_obs)
        assert discount[k, j, b] == pytest.approx(0.0 if terminated else runner.agent.gamma)
        if tuple(next_obs) in steps:
            np.testing.assert_allclose(features[k, j, b], steps[tuple(next_obs)][0][:6], atol=1e-5)
            compared += 1
        else:
            truncated += not terminated
    assert compared > 500
    assert truncated > 50


@pytest.mark.parametrize("core", ["gru", "lstm"])
def test_the_carry_of_acting_in_torch_to_the_bit(tmp_path, core):
    """It is that of a network that plays each episode from its first step."""
    words = [f"network/core={core}", *SMALL, "env.max_episode_steps=12"]
    runner = make_runner(tmp_path, words)
    network, recall = runner.agent.online, runner.agent.actor.q_values
    assert isinstance(recall, Recall)
    recall._forward = TorchForward(network, torch.device("cpu"))
    runner.collector.start(0)
    carry = torch.zeros(2, 2, network.carry_size)
    previous = torch.zeros(2, 2, network.previous_size)
    for row in collected(runner, 120):
        np.testing.assert_array_equal(row.carry, carry)
        with torch.no_grad():
            carry = network.step(torch.from_numpy(row.obs), carry, previous)[1]
        one_hot = torch.nn.functional.one_hot(torch.from_numpy(row.action), 2).float()
        previous = torch.cat((one_hot, torch.from_numpy(row.reward).float().unsqueeze(-1)), -1)
        ended = torch.from_numpy(row.terminated | row.truncated)
        carry, previous = carry.clone(), previous.clone()
        carry[ended], previous[ended] = 0.0, 0.0
    runner.env.close()
