"""Constructors of small networks: every head, layers, and a whole Q-network."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from dqn.network import (
    MLP,
    CategoricalHead,
    ExpectedHead,
    ImplicitQuantileHead,
    Linear,
    Noisy,
    QNetwork,
    QuantileHead,
    SingleStream,
)
from dqn.types import EnvSpec, ObsSpec

HEADS = {
    "expected": partial(ExpectedHead, huber_delta=1.0, rescale=None),
    "categorical": partial(CategoricalHead, num_atoms=7, v_min=-2.0, v_max=4.0, rescale=None),
    "quantile": partial(
        QuantileHead, num_quantiles=5, huber_delta=1.0, rescale=None, prioritized_by="td_error"
    ),
    "implicit_quantile": partial(
        ImplicitQuantileHead,
        num_samples=6,
        num_target_samples=4,
        num_action_samples=8,
        num_cosines=9,
        huber_delta=1.0,
        rescale=None,
        prioritized_by="td_error",
    ),
}
LINEAR = partial(Linear, initializer="torch")
NOISY = partial(Noisy, sigma=0.5, initializer="torch")
SINGLE = partial(SingleStream, hidden_sizes=[], activation="relu")


def generators(count: int = 2) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(k) for k in range(count)]


def make_network(
    obs: ObsSpec, *, num_seeds: int = 2, torso: Any = MLP, sizes: Sequence[int] = (7, 5), **parts: Any
) -> QNetwork:
    """Return a network for 3 actions, whose layers are linear and whose head is expected unless given."""
    own = {"activation": parts.pop("activation", "relu"), "layer_norm": parts.pop("layer_norm", False)}
    parts = {"streams": SINGLE, "head": HEADS["expected"], "layer": LINEAR, **parts}
    parts["torso"] = partial(torso, hidden_sizes=list(sizes), **own)
    ends = {"obs_low": parts.pop("low", None), "obs_high": parts.pop("high", None)}
    ends |= {"obs_scale": parts.pop("scale", "auto"), "sees_action": parts.pop("sees_action", False)}
    ends["core"] = parts.pop("core", None)
    return QNetwork(**ends, **parts, spec=EnvSpec(obs, 3, None), generators=generators(num_seeds))
