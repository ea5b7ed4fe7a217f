"""Networks that carry the seed axis: K networks of one shape, computed together."""

from dqn.network.conv import Conv
from dqn.network.heads import CategoricalHead, ExpectedHead, HeadFactory, ImplicitQuantileHead, QuantileHead
from dqn.network.impala import Impala
from dqn.network.layers import Linear, Noisy
from dqn.network.module import StackedModule
from dqn.network.parameters import Flat, flatten
from dqn.network.protocols import (
    Generators,
    Head,
    MakeHead,
    MakeLayer,
    MakeModule,
    MakeNetwork,
    MakeStreams,
    MakeTorso,
    Streams,
    Torso,
)
from dqn.network.qnetwork import QNetwork, make_torso, reads_images
from dqn.network.recurrent import GRU, LSTM, Core, MakeCore
from dqn.network.streams import DuelingStreams, SingleStream
from dqn.network.torsos import MLP

__all__ = [
    "GRU",
    "LSTM",
    "MLP",
    "CategoricalHead",
    "Conv",
    "Core",
    "DuelingStreams",
    "ExpectedHead",
    "Flat",
    "Generators",
    "Head",
    "HeadFactory",
    "Impala",
    "ImplicitQuantileHead",
    "Linear",
    "MakeCore",
    "MakeHead",
    "MakeLayer",
    "MakeModule",
    "MakeNetwork",
    "MakeStreams",
    "MakeTorso",
    "Noisy",
    "QNetwork",
    "QuantileHead",
    "SingleStream",
    "StackedModule",
    "Streams",
    "Torso",
    "flatten",
    "make_torso",
    "reads_images",
]
