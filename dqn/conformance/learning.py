"""Check that all parts together learn: on a Markov decision process whose values are known."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dqn.conformance.assertions import Failure, NotApplicable
from dqn.conformance.candidate import MISSING, Candidate, observations
from dqn.conformance.chain import Chain
from dqn.conformance.distribution import finite
from dqn.conformance.runs import CLOCK, small_memory
from dqn.runner import Runner
from dqn.types import Floats

GAMMA = 0.9
TOLERANCE = 0.1
LOOKS = 4
"""Of so many, an iteration apart, the mean is taken: at a constant learning rate values keep varying."""
VALUES = {
    "env.id": "dqn/Chain-v0",
    "env.module": "dqn.conformance.chain",
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
EPISODE = 4
"""Steps after which episodes are cut, so that truncation is met too."""
LEARNING_RATES = (2e-3, 2e-2)


class Learned(NamedTuple):
    greedy: list[int]
    best: list[float]
    """Best values of the states, as shares of the right ones."""

    @property
    def is_right(self) -> bool:
        return all(action == 1 for action in self.greedy) and self.error <= TOLERANCE

    @property
    def error(self) -> float:
        return max(abs(share - 1) for share in self.best)


def learning(candidate: Candidate) -> str:
    """Check that the greedy actions and their values become those of value iteration; return how nearly.

    Learning is off-policy, from random actions and one-step returns; the configuration's parts are kept, its
    numbers for learning rate, discount, clock and schedules are not. What is right at any of several learning
    rates is right.
    """
    scale = reward_scale(candidate)
    seen: list[str] = []
    for lr in dict.fromkeys((LEARNING_RATES[0], candidate.config["agent"]["lr"], *LEARNING_RATES)):
        with tempfile.TemporaryDirectory() as folder:
            runner = make_runner(candidate, Path(folder), {"agent.lr": lr, "env.reward_scale": scale})
            learned = train(runner, scale)
        if learned.is_right:
            return f"best values within {100 * learned.error:.1f} % of value iteration"
        shares = ", ".join(f"{share:.2f}" for share in learned.best)
        seen.append(
            f"with agent.lr={lr:g} the greedy actions are {learned.greedy}, their values {shares} of those"
        )
    raise Failure(
        "on a chain of five states (dqn/conformance/chain.py) the greedy actions should become"
        f" [1, 1, 1, 1, 1] and their values be within {100 * TOLERANCE:.0f} % of those of value iteration; "
        + "; ".join(seen)
    )


def reward_scale(candidate: Candidate) -> float:
    """Return a scale by which all returns lie in what the network can stand for."""
    obs = torch.from_numpy(observations(candidate.spec.obs, 1, 1))
    low, high = finite(*candidate.network((0,)).forward(obs, None).limits())
    if low > 0 or high <= 0:
        raise NotApplicable(f"the returns of the chain, from 0 up, do not fit into {low:g} to {high:g}")
    return min(1.0, high) if high <= 1 else high / 2


def make_runner(candidate: Candidate, folder: Path, values: dict[str, Any]) -> Runner:
    """Return the runner of the chain, in the shape of the configuration's images if it has some."""
    spec = candidate.spec.obs
    kwargs: dict[str, Any] = {"max_episode_steps": EPISODE}
    if len(spec.shape) > 1:
        kwargs["shape"] = spec.shape
    values = VALUES | values | {"env.kwargs": kwargs} | small_memory(candidate, 20_000)
    if candidate.node("memory.reader.n_step") is not MISSING:
        values["memory.reader.n_step"] = 1
    try:
        return candidate.runner(folder, values)
    except Exception as error:
        raise NotApplicable(f"cannot be made for the chain ({type(error).__name__}: {error})") from error


def train(runner: Runner, scale: float) -> Learned:
    """Train until the values, as the mean of several looks, are right, or to the end; return them."""
    runner.restore()
    spec = runner.env.spec.obs
    chain = Chain(spec.shape if len(spec.shape) > 1 else None)
    looks: list[Floats] = []
    while runner.tick < runner.clock.total:
        runner.train()
        runner.iteration += 1
        looks.append(runner.agent.policy.q_values(chain.patterns[None].astype(spec.dtype))[0])
        learned = learned_of(np.mean(looks[-LOOKS:], 0) / scale)
        if len(looks) > LOOKS and learned.is_right:
            break
    runner.close()
    return learned


def learned_of(q: Floats) -> Learned:
    """Return what action values [states, actions] say."""
    best: Floats = q.max(-1) / Chain.optimal_values(GAMMA).max(-1)
    return Learned(q.argmax(-1).tolist(), best.tolist())
