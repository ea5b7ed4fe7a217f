"""Environments: made from their keys, described, and stepped together as arrays [K, E, ...]."""

from dqn.env.guard import Guard, close
from dqn.env.make import Env, EnvFactory, Wrapper, adapt, encoder
from dqn.env.vector import Environments, Step

__all__ = ["Env", "EnvFactory", "Environments", "Guard", "Step", "Wrapper", "adapt", "close", "encoder"]
