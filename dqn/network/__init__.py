"""Networks that carry the seed axis: K networks of one shape, computed together."""

from dqn.network.heads import ExpectedHead
from dqn.network.layers import Linear
from dqn.network.parameters import Flat, flatten
from dqn.network.qnetwork import QNetwork
from dqn.network.torsos import MLP

__all__ = ["MLP", "ExpectedHead", "Flat", "Linear", "QNetwork", "flatten"]
