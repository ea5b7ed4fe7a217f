"""A warning about returns that the network's head cannot represent."""

import logging

import torch

from dqn.agent import Agent
from dqn.devices import to_device
from dqn.memory import ReplayMemory
from dqn.process import float32_by_default

log = logging.getLogger(__name__)


@float32_by_default()
def warn_of_returns_beyond_support(agent: Agent, memory: ReplayMemory) -> None:
    """Warn if returns in memory are beyond the limits of the head, such as C51's support.

    The bound that follows from the greatest reward alone would be far off where rewards are rare: with
    Atari's clipped ones it is 100, and supports of -10 to 10 are usual.

    Args:
        agent: has the discount and the limits.
        memory: has the rewards.
    """
    obs = to_device(torch.from_numpy(memory.observations(1)), agent.policy.device)
    low, high = agent.online(obs).limits()
    least, most = memory.return_range(agent.gamma)
    if least < low or most > high:
        log.warning(
            "the rewards so far give returns from %.3g to %.3g at agent.gamma=%g; the support of network.head"
            " holds %g to %g; env.reward_scale makes them smaller",
            *(least, most, agent.gamma, low, high),
        )
