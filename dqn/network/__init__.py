"""Networks that carry the seed axis: K networks of one shape, computed together."""

from dqn.network.heads import CategoricalHead, ExpectedHead, ImplicitQuantileHead, QuantileHead
from dqn.network.layers import Linear, Noisy
from dqn.network.parameters import Flat, flatten
from dqn.network.qnetwork import QNetwork
from dqn.network.torsos import MLP

__all__ = [
    "MLP",
    "CategoricalHead",
    "ExpectedHead",
    "Flat",
    "ImplicitQuantileHead",
    "Linear",
    "Noisy",
    "QNetwork",
    "QuantileHead",
    "flatten",
]
