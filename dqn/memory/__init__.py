"""Replay memory: a ring of rows, a sampler of the rows where samples start, a reader of the samples."""

from dqn.memory.n_step import NStep
from dqn.memory.prioritized import Prioritized
from dqn.memory.protocols import MakeReader, MakeSampler, Reader, Sampler, Transitions
from dqn.memory.replay import ReplayMemory
from dqn.memory.ring import CLOSING, CONTINUES, LOST, TERMINATED, TRUNCATED, Ring
from dqn.memory.sequences import Sequences
from dqn.memory.uniform import Uniform

__all__ = [
    "CLOSING",
    "CONTINUES",
    "LOST",
    "TERMINATED",
    "TRUNCATED",
    "MakeReader",
    "MakeSampler",
    "NStep",
    "Prioritized",
    "Reader",
    "ReplayMemory",
    "Ring",
    "Sampler",
    "Sequences",
    "Transitions",
    "Uniform",
]
