"""The agent: it acts by its online network and learns from samples, for K seeds in lock step."""

from dqn.agent.actor import Actor
from dqn.agent.agent import Agent
from dqn.agent.backup import ActionValues, Backup, Double, Greedy, Munchausen, Valued
from dqn.agent.optimizer import Adam, Optimizer, RMSprop
from dqn.agent.policy import Policy

__all__ = [
    "ActionValues",
    "Actor",
    "Adam",
    "Agent",
    "Backup",
    "Double",
    "Greedy",
    "Munchausen",
    "Optimizer",
    "Policy",
    "RMSprop",
    "Valued",
]
