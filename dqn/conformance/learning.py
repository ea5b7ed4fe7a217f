"""Check that all parts together learn the known values of a Markov decision process."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from dqn.conformance.assertions import Failure, NotApplicable, require_shape
from dqn.conformance.candidate import Candidate, observations
from dqn.conformance.chain import Chain
from dqn.conformance.distribution import finite
from dqn.conformance.runs import CLOCK, small_memory
from dqn.process import float32_by_default
from dqn.runner import Runner
from dqn.types import Floats

GAMMA = 0.9
TOLERANCE = 0.1
AVERAGED = 4
"""Iterations whose values are averaged; at a constant learning rate values keep varying."""
EPISODE = 4
"""Steps after which episodes are truncated, so that truncation is tested too."""
VALUES = {
    "env.id": "dqn/Chain-v0",
    "env.module": "dqn.conformance.chain",
    "env.max_episode_steps": EPISODE,
    "env.wrappers": [],
    "env.training_wrappers": [],
    "env.num_envs": 8,
    "env.vectorization": "sync",
    "env.reward_clip": None,
    "env.time_limit_is_terminal": False,
    "schedule": {"_target_": "dqn.schedule.Constant", "value": 1.0},
    "agent.gamma": GAMMA,
    "agent.lr_schedule": {"_target_": "dqn.schedule.Constant", "value": 1.0},
    "runner": CLOCK
    | {"total_steps": 24000, "iteration_length": 2000, "batch_size": 64, "learning_starts": 2000}
    | {"train_period": 8, "target_period": 200, "target_tau": 1.0},
    **{"seed": 0, "num_seeds": 1, "device": "cpu", "num_threads": 1},
}
LEARNING_RATES = (2e-3, 2e-2)
SWEEPS = 500
"""Sweeps of value iteration; the last one changes nothing."""


@runtime_checkable
class StateValues(Protocol):
    """A backup whose values converge to those of another problem than that of the best actions."""

    def state_values(self, q: Tensor) -> Tensor | None:
        """Return the values of states [S] from those of their actions [S, A], which value iteration repeats.

        Write it independently of `__call__`, so that the check finds a mistake in either. Return None if the
        values that the backup converges to are not known; the check is skipped then.
        """


@float32_by_default()
def learning(candidate: Candidate) -> str:
    """Check greedy actions and their values against value iteration; return how close the values are.

    Value iteration takes the best action's value, or the `state_values` of a backup that has them. Learning
    is off-policy, from random actions and one-step returns. The parts are kept; the configuration's discount,
    clock and schedules are not. Success at any of several learning rates is enough.
    """
    scale = reward_scale(candidate)
    expected = fixed_point(candidate.part("agent.backup"), scale)
    attempts: list[str] = []
    for lr in dict.fromkeys((LEARNING_RATES[0], candidate.config["agent"]["lr"], *LEARNING_RATES)):
        with TemporaryDirectory() as folder:
            runner = make_runner(candidate, Path(folder), {"agent.lr": lr, "env.reward_scale": scale})
            q = train(runner, scale, expected)
        if (error := error_of(q, expected)) <= TOLERANCE:
            return f"greedy values within {100 * error:.1f} % of value iteration"
        shares = ", ".join(f"{share:.2f}" for share in q.max(-1) / expected.max(-1))
        greedy = q.argmax(-1).tolist()
        attempts.append(
            f"with agent.lr={lr:g} the greedy actions are {greedy}, their values {shares} of those"
        )
    raise Failure(
        "on a chain of five states (dqn/conformance/chain.py) the greedy actions should become"
        f" [1, 1, 1, 1, 1] and their values be within {100 * TOLERANCE:.0f} % of those of value iteration; "
        + "; ".join(attempts)
    )


def fixed_point(backup: Any, scale: float) -> Floats:
    """Return the action values [states, actions] of the chain that a backup converges to.

    Args:
        backup: the backup.
        scale: of the rewards in learning, on which `state_values` may depend.
    """
    if not isinstance(backup, StateValues):
        return Chain.optimal_values(GAMMA)
    q = np.zeros((Chain.STATES, 2))
    for _ in range(SWEEPS):
        v = backup.state_values(torch.from_numpy(scale * q))
        if v is None:
            raise NotApplicable("the backup's state_values returns None: its values are not known")
        require_shape("what state_values returned", v, (Chain.STATES,), ": one for each state")
        q = Chain.backup(v.numpy() / scale, GAMMA)
    return q


def reward_scale(candidate: Candidate) -> float:
    """Return a reward scale by which the network can represent all returns of the chain."""
    obs = torch.from_numpy(observations(candidate.spec.obs, 1, 1))
    low, high = finite(*candidate.network((0,)).forward(obs, None).limits())
    if low > 0 or high <= 0:
        raise NotApplicable(f"the returns of the chain, from 0 up, do not fit into {low:g} to {high:g}")
    return min(1.0, high) if high <= 1 else high / 2


def make_runner(candidate: Candidate, folder: Path, values: dict[str, Any]) -> Runner:
    """Return a runner on the chain, whose observations are images if the configuration's have one."""
    obs = candidate.spec.obs
    shape = obs.shape if obs.image is None else obs.image.shape
    kwargs = {"shape": shape} if len(shape) > 1 else {}
    values = VALUES | values | {"env.kwargs": kwargs} | small_memory(candidate, 20_000, EPISODE)
    if candidate.node("memory.reader.n_step") is not None:
        values["memory.reader.n_step"] = 1
    try:
        return candidate.runner(folder, values)
    except Exception as error:
        raise NotApplicable(f"cannot be made for the chain ({type(error).__name__}: {error})") from error


def train(runner: Runner, scale: float, expected: Floats) -> Floats:
    """Train until the averaged action values [states, actions] are right, or to the end; return them."""
    runner.open()
    spec = runner.env.spec.obs
    patterns = Chain(spec.shape if len(spec.shape) > 1 else None).patterns.astype(spec.dtype)
    first = np.zeros((1, Chain.STATES, spec.stack, *spec.shape), spec.dtype)
    first[:, :, -1] = patterns  # the observations at resets
    first = first.reshape(1, Chain.STATES, *spec.stacked_shape)
    values: list[Floats] = []
    while runner.tick < runner.clock.total:
        runner.train()
        runner.iteration += 1
        values.append(runner.agent.policy.q_values(first)[0])
        q: Floats = np.mean(values[-AVERAGED:], 0) / scale
        if len(values) > AVERAGED and error_of(q, expected) <= TOLERANCE:
            break
    runner.close()
    return q


def error_of(q: Floats, expected: Floats) -> float:
    """Return the greatest relative error of the greedy values, infinity if a greedy action is wrong."""
    if (q.argmax(-1) != expected.argmax(-1)).any():
        return float("inf")
    return float(abs(q.max(-1) / expected.max(-1) - 1).max())
