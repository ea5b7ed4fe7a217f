"""Policies of stacked frames: their environments, observations and files."""

import pickle
import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import FACTORY
from gymnasium import spaces
from helpers import config_of

from dqn.config.build import build_policy
from dqn.config.wrappers import env_factory, make_environments
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.env import EnvFactory
from dqn.memory import Ring
from dqn.memory.ring import CLOSING
from dqn.runner.evaluator import Evaluator
from dqn.seeding import integer
from dqn.types import Array

STACK = 3


class Reusing(gymnasium.Env[Any, Any]):
    """Episodes of four steps, whose observations are one array."""

    observation_space = spaces.Box(1, 100, (2,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.obs = self.np_random.integers(1, 5, 2).astype(np.float32)
        return self.obs, {}

    def step(self, action: int) -> Any:
        self.obs += action + 1
        return self.obs, float(self.obs[0]), bool(self.obs[1] > 12), False, {}


gymnasium.register("Reusing-v0", Reusing)
IDS = ["Reusing-v0", "box", "bytes", "discrete", "multi", "tuple", "mixed"]


def config_for(name: str) -> dict[str, Any]:
    id = ["env.id=Reusing-v0"] if name == "Reusing-v0" else ["env.id=Spaces-v0", f"+env.kwargs.name={name}"]
    return config_of(["env.module=envs", *id, f"env.frame_stack={STACK}", "network.torso.hidden_sizes=[8]"])


def policy_for(name: str) -> tuple[GreedyPolicy, dict[str, Any]]:
    config = config_for(name)
    factory = env_factory(config["env"])
    policy = build_policy(config, spec=factory.spec, seeds=[4])
    return GreedyPolicy(policy=policy, factory=factory, seed=4, iteration=0, selected=None), config


@pytest.mark.parametrize("name", IDS)
def test_its_environment_gives_what_the_actor_stacks(name):
    """Over several episodes: the same observations for the network, and so the same actions and returns."""
    policy, config = policy_for(name)
    read: list[Array] = []
    q_values = policy.policy.q_values
    policy.policy.q_values = lambda obs, rng=None: (read.append(obs[0, 0].copy()), q_values(obs, rng))[1]
    evaluator = Evaluator(
        make_env=make_environments(config["env"]),
        **{"seeds": [4], "episodes": 3, "epsilon": 0.0, "num_envs": 1, "max_steps": None, "role": "test"},
    )
    returns = evaluator(policy.policy, 5)[0].tolist()
    policy.policy.q_values = q_values
    env = policy.make_env()
    seen, seed = [], integer(4, "test", 5, 0)
    for episode in range(3):
        obs, _ = env.reset(seed=seed if episode == 0 else None)
        total, ended = 0.0, False
        while not ended:
            assert obs in env.observation_space
            seen.append(policy.encode(obs)[0])
            obs, reward, ended, _, _ = env.step(policy(obs))
            total += float(reward)
        assert total == returns[episode]
    np.testing.assert_array_equal(seen, read)
    assert seen[0].shape == policy.obs.stacked_shape


def test_batches_and_copies():
    policy, _ = policy_for("mixed")
    env = policy.make_env()
    seen = [env.reset(seed=seed)[0] for seed in range(4)]
    batch = {key: np.stack([obs[key] for obs in seen]) for key in seen[0]}
    values = policy.q_values(batch)
    np.testing.assert_array_equal(policy.q_values(seen), values)
    np.testing.assert_allclose([policy.q_values(obs) for obs in seen], values, rtol=1e-5)
    assert policy(batch).tolist() == [policy(obs) for obs in seen]
    again = pickle.loads(pickle.dumps(policy))
    np.testing.assert_array_equal(again.q_values(batch), values)
    assert again.make_env().observation_space == env.observation_space


WRONG = [
    ("bytes", np.zeros((4, 4, 1), np.uint8), "the shape (3, 4, 4, 1), or [B, 3, 4, 4, 1] for a batch, not"),
    (
        "bytes",
        np.zeros((2, 4, 4, 4, 1), np.uint8),
        "the latest 3 observations together, as those of make_env()",
    ),
    (
        "discrete",
        3,
        "should have the shape (3,), or [B, 3] for a batch, not (); the policy reads the latest 3",
    ),
    (
        "mixed",
        {"direction": 1},
        "should be a dict of ['direction', 'picture', 'speed'], not ['direction']; the",
    ),
]


@pytest.mark.parametrize(("name", "obs", "text"), WRONG, ids=[name for name, *_ in WRONG])
def test_single_frames_are_refused(name, obs, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        policy_for(name)[0](obs)


def test_memory_pads_as_the_environment_of_a_policy():
    """Not with zeros, where an observation before the first of an episode would not be in the space."""
    factory = EnvFactory(id="Reusing-v0", kwargs={}, **FACTORY | {"frame_stack": STACK})
    ring = Ring(capacity=8, span=1, num_seeds=1, num_envs=1, spec=factory.spec)
    ring.end[:] = CLOSING
    ring.obs[:] = 7
    assert ring.observations(np.array([3])).tolist() == [[[1, 1], [1, 1], [7, 7]]]
