"""Environments: made, described, and stepped together as arrays [K, E, ...]."""

from dqn.env.make import adapt, inspect, make, make_unchecked
from dqn.env.spec import obs_spec
from dqn.env.vector import Environments, Step

__all__ = [
    "Environments",
    "Step",
    "adapt",
    "inspect",
    "make",
    "make_registered",
    "make_unchecked",
    "obs_spec",
]
