"""Environments: made from their keys, described, and stepped together as arrays [K, E, ...]."""

from dqn.env.make import Env, EnvFactory, Wrapper, encoder
from dqn.env.vector import Environments, Step

__all__ = ["Env", "EnvFactory", "Environments", "Step", "Wrapper", "encoder"]
