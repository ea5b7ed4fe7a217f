"""The family as independent switches: every three of them train together."""

import copy
import functools
import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from helpers import config_of
from hydra.utils import instantiate
from processes import SEED

from dqn.agent.numpy_forward import TorchForward
from dqn.config.validate import check
from dqn.config.values import parse, replace_values
from dqn.network.parameters import views
from dqn.types import EnvSpec, ObsSpec, Row

SWITCHES = {
    "head": [f"network/head={name}" for name in ("expected", "categorical", "quantile", "implicit_quantile")],
    "streams": ["network/streams=single", "network/streams=dueling"],
    "backup": [f"agent/backup={name}" for name in ("greedy", "double", "munchausen")],
    "layer": ["network/layer=linear", "network/layer=noisy"],
    "norm": ["network.torso.layer_norm=false", "network.torso.layer_norm=true"],
    "hidden": ["network.streams.hidden_sizes=[]", "network.streams.hidden_sizes=[8]"],
    "memory": ["memory=uniform", "memory=prioritized"],
    "reader": ["memory/reader=one_step", "memory/reader=n_step"],
    "optimizer": [f"agent/optimizer={name}" for name in ("adam", "rmsprop", "adamw", "sgd")],
    "seeds": ["num_seeds=1", "num_seeds=2"],
}
PRODUCT = list(itertools.product(*SWITCHES.values()))
SMALL = ["runner.batch_size=32", "runner.learning_starts=100"]
SPEC = EnvSpec(ObsSpec((4,), np.dtype(np.float32), 0, 1.0), 3, None)


def triples(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Return every three of the options."""
    return set(itertools.combinations(words, 3))


def cover() -> list[tuple[str, ...]]:
    """Return few of the product's combinations that contain every three options of different switches.

    Greedy: each combination has the most triples that none before it has. A fault that needs three options at
    once, or fewer, so shows in one of them at least.
    """
    columns = []
    for three in itertools.combinations(range(len(SWITCHES)), 3):
        names = ["|".join(words[i] for i in three) for words in PRODUCT]
        found, inverse = np.unique(names, return_inverse=True)
        columns.append(inverse[:, None] == np.arange(len(found)))
    contains = np.concatenate(columns, 1).astype(np.float32)  # [combinations, triples]
    missing = np.ones(contains.shape[1], np.float32)
    chosen = []
    while missing.any():
        chosen.append(int((contains @ missing).argmax()))
        missing *= 1 - contains[chosen[-1]]
    return [PRODUCT[i] for i in chosen]


COVER = cover()


@functools.cache
def with_option(word: str) -> dict[str, Any]:
    return config_of([word])


def combined(words: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of options of different groups, of which each is composed once."""
    groups = [word for word in words if "/" in word or word.startswith("memory=")]
    (layer,) = (word for word in groups if word.startswith("network/layer="))
    config = config_of([layer])  # sets the schedule, too
    for word in groups:
        *path, name = word.partition("=")[0].split("/")
        node, option = config, with_option(word)
        for part in path:
            node, option = node[part], option[part]
        node[name] = copy.deepcopy(option[name])
    return replace_values(config, parse([word for word in words if word not in groups]))


def test_options_of_different_groups_combine():
    words = [*COVER[-1], "memory.capacity=200"]
    assert combined(words) == config_of(words)


def train(words: tuple[str, ...]) -> None:
    """Store, sample and update; every online parameter must get a finite gradient that is not zero."""
    config = combined([*words, "network.torso.hidden_sizes=[16]", "memory.capacity=200", *SMALL])
    assert check(config, learns=False).problems == []
    num_seeds = config["num_seeds"]
    common = {"spec": SPEC, "seeds": range(num_seeds), "num_envs": 1, "device": torch.device("cpu")}
    agent = instantiate(config["agent"], _convert_="all")(
        network=instantiate(config["network"], _convert_="all"), planned_updates=0, **common
    )
    memory = instantiate(config["memory"], _convert_="all")(
        gamma=agent.gamma, network=agent.policy.network_spec, **common
    )
    fill(memory, num_seeds)
    for tick in range(2):
        sample = memory.sample(32)
        before = agent._parameters.value.clone()
        update = agent.update(sample, tick)
        memory.update_priorities(sample.row, update.priority)
        assert np.isfinite(update.loss).all()
        assert np.isfinite(update.priority).all()
        assert (update.priority >= 0).all()
        leaves = dict(agent.online.named_parameters())
        gradients = views(agent._parameters.gradient, list(leaves.values()))
        for name, gradient in zip(leaves, gradients, strict=True):
            assert gradient.isfinite().all(), name
            assert (gradient.flatten(1).abs().sum(-1) > 0).all(), name
        assert not torch.equal(agent._parameters.value, before)
    agent.sync_target(1.0)
    obs = np.ones((num_seeds, 1, 4), np.float32)
    assert agent.actor.act(obs, 0.1).shape == (num_seeds, 1)
    assert not isinstance(agent.policy.q_values, TorchForward), "acting fell back to torch"


def fill(memory, num_seeds: int) -> None:
    """Store episodes of random length and ends."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(num_seeds, 1, 4)).astype(np.float32)
    for _ in range(120):
        following = rng.normal(size=obs.shape).astype(np.float32)
        end = rng.random((num_seeds, 1))
        memory.push(
            Row(
                obs,
                rng.integers(3, size=(num_seeds, 1)),
                rng.normal(size=(num_seeds, 1)).astype(np.float32),
                following,
                end < 0.1,
                end > 0.95,
                np.zeros((num_seeds, 1), bool),
                np.ones((num_seeds, 1), bool),
            )
        )
        obs = following


@pytest.mark.parametrize("words", COVER, ids=" ".join)
def test_every_three_switches_train(words):
    train(words)


def test_every_three_are_covered():
    every = set[tuple[str, ...]]().union(*map(triples, PRODUCT))
    assert every == set[tuple[str, ...]]().union(*map(triples, COVER))
    assert len(COVER) < 80


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_some_of_the_whole_product_train():
    print(f"DQN_TEST_SEED={SEED}")
    for words in random.Random(SEED).sample(PRODUCT, 200):
        print(*words)
        train(words)
