"""Environments: made from their keys, described, and stepped together as arrays [K, E, ...]."""

from dqn.env.encoding import adapt, encoder, stacked
from dqn.env.guard import Guard, close
from dqn.env.make import Env, EnvFactory, Wrapper
from dqn.env.makers import NAMESPACE, MakeEnv, given, given_now, id_of
from dqn.env.masks import MASK, MaskSource, given_mask, mask_problem, valid_action
from dqn.env.one_hot import OneHotGrid
from dqn.env.some_numbers import SomeNumbers
from dqn.env.spec import image_of, images_in
from dqn.env.vector import Environments, Step

__all__ = [
    "MASK",
    "NAMESPACE",
    "Env",
    "EnvFactory",
    "Environments",
    "Guard",
    "MakeEnv",
    "MaskSource",
    "OneHotGrid",
    "SomeNumbers",
    "Step",
    "Wrapper",
    "adapt",
    "close",
    "encoder",
    "given",
    "given_mask",
    "given_now",
    "id_of",
    "image_of",
    "images_in",
    "mask_problem",
    "stacked",
    "valid_action",
]
