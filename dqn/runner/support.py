"""A warning about rewards whose returns the network's head cannot represent."""

import logging

import torch

from dqn.agent import Agent
from dqn.devices import to_device
from dqn.memory import ReplayMemory
from dqn.process import float32_by_default

log = logging.getLogger(__name__)


@float32_by_default()
def warn_of_returns_beyond_support(agent: Agent, memory: ReplayMemory, time_limit: int | None) -> None:
    """Warn if the stored rewards may give returns beyond the limits of the head, such as C51's support.

    Args:
        agent: has the discount and the limits.
        memory: has the rewards.
        time_limit: steps after which an episode is truncated; None: without a limit.
    """
    steps = 1 / (1 - agent.gamma) if agent.gamma < 1 else float(time_limit or "inf")
    obs = to_device(torch.from_numpy(memory.observations(1)), agent.policy.device)
    low, high = agent.online(obs).limits()
    least, most = memory.reward_range()
    if least * steps < low or most * steps > high:
        log.warning(
            "rewards from %g to %g at agent.gamma=%g may give returns from %g to %g; the support of"
            " network.head holds %g to %g",
            *(least, most, agent.gamma, min(0.0, least * steps), max(0.0, most * steps), low, high),
        )
