"""Recurrent policies outside training: the carry of a user's loop, of videos and of exported files."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import config_of

from dqn.cli.export import play as play_inputs
from dqn.config.build import build_policy
from dqn.config.wrappers import env_factory, make_environments
from dqn.deploy.carry import Carry
from dqn.deploy.export import compare, export
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.errors import UserError
from dqn.runner.evaluator import Evaluator
from dqn.runner.video import Camera
from dqn.seeding import integer

SMALL = ["network.torso.hidden_sizes=[8]", "network.core.units=8"]
SEES = ["env=cartpole", "network/core=lstm", "network.sees_action=true", "env.reward_scale=0.5"]
BLIND = ["env=cartpole", "network/core=gru"]


def policy_for(*overrides: str) -> GreedyPolicy:
    """Return a policy of the seed 4 with random parameters, large enough that its memory matters."""
    config = config_of([*overrides, *SMALL[: 1 + any("core=" in one for one in overrides)]])
    factory = env_factory(config["env"])
    policy = build_policy(config, spec=factory.spec, seeds=[4])
    generator = torch.Generator().manual_seed(5)  # with these, both actions occur
    state = policy.state_dict().items()
    policy.load_state_dict({name: torch.randn(leaf.shape, generator=generator) for name, leaf in state})
    return GreedyPolicy(policy=policy, factory=factory, seed=4, iteration=0, selected=None)


def play(policy: GreedyPolicy, seed: int, episodes: int = 1) -> tuple[list[float], list[int]]:
    """Return the returns and actions of greedy episodes, by the loop that the guide shows."""
    env, actions, returns = policy.make_env(), [], []
    sees = policy.policy.network_spec.sees_action
    for episode in range(episodes):
        obs, _ = env.reset(seed=seed if episode == 0 else None)
        carry, total, reward, ended = policy.start(), 0.0, None, False
        while not ended:
            action, carry = policy(obs, carry, reward) if sees else policy(obs, carry)
            obs, reward, terminated, truncated, _ = env.step(action)
            total, ended = total + float(reward), terminated or truncated
            actions.append(action)
        returns.append(total)
    env.close()
    return returns, actions


@pytest.mark.parametrize("overrides", [SEES, [*BLIND, "env.frame_stack=2"]], ids=" ".join)
def test_a_loop_acts_as_the_evaluator(overrides):
    policy = policy_for(*overrides)
    config = config_of([*overrides, *SMALL])
    seen, actor = [], policy.policy.actor

    def watched(**kwargs):
        made = actor(**kwargs)
        act = made.act
        made.act = lambda *args: (seen.append(int((action := act(*args))[0, 0])), action)[1]
        return made

    policy.policy.actor = watched
    evaluator = Evaluator(
        make_env=make_environments(config["env"]),
        **{"seeds": [4], "episodes": 3, "epsilon": 0.0, "num_envs": 1, "max_steps": None, "role": "test"},
    )
    returns = evaluator(policy.policy, 5)[0].tolist()
    assert (returns, seen) == play(policy, integer(4, "test", 5, 0), 3)
    assert {0, 1} == set(seen)


@pytest.mark.parametrize("overrides", [SEES, BLIND], ids=" ".join)
def test_a_batch_is_its_episodes(overrides):
    """Each row of a carry is one episode, also after a pickle and where one of them starts again."""
    policy, sees = policy_for(*overrides), overrides is SEES
    obs = np.random.default_rng(0).normal(size=(6, 3, 4)).astype(np.float32)
    reward = np.arange(3.0)
    singles, carry = [policy.start() for _ in range(3)], policy.start(3)
    for t in range(6):
        if t == 3:
            carry, singles[1] = carry.restarted([False, True, False]), policy.start()
        given = (reward * t,) if sees else ()
        expected = policy.q_values(obs[t], carry, *given)
        action, carry = policy(obs[t], pickle.loads(pickle.dumps(carry)), *given)
        for i in range(3):
            one = (t * float(i),) if sees else ()
            found = policy.q_values(obs[t, i], singles[i], *one)
            np.testing.assert_allclose(found, expected[i], rtol=1e-4, atol=1e-5)
            alone, singles[i] = policy(obs[t, i], singles[i], *one)
            assert type(alone) is int
            assert alone == action[i] == found.argmax()
    assert not np.allclose(policy.q_values(obs[0], policy.start(3)), policy.q_values(obs[0], carry, *given))


def test_rewards_are_those_that_were_learned_from():
    """They are clipped and scaled; those before an episode are not read."""
    policy = policy_for(*SEES, "env.reward_clip=2")
    obs = np.ones(4, np.float32)
    values = policy.q_values(obs, policy.start())
    np.testing.assert_array_equal(values, policy.q_values(obs, policy.start(), 7.0))
    action, carry = policy(obs, policy.start())
    forward = policy.policy.forward
    previous = np.zeros((1, 1, 3), np.float32)
    previous[..., action], previous[..., -1] = 1.0, 1.0  # 5 clipped to 2, times 0.5
    expected, _ = forward(obs[None, None], None, (carry.state[None], previous))
    np.testing.assert_array_equal(policy.q_values(obs, carry, 5), expected[0, 0])
    assert not np.array_equal(policy.q_values(obs, carry, 5), policy.q_values(obs, carry, 1))


LINES = "as in `carry = policy.start()` and then `action, carry = policy(obs, carry)`"


def test_wrong_calls_are_told():
    obs = np.zeros(4, np.float32)
    blind, sees, plain = policy_for(*BLIND), policy_for(*SEES), policy_for("env=cartpole")
    masked = replace(blind._factory, action_mask="info")
    nothing = "remembers nothing of its episode (network.core=null)"
    wrong = [
        (blind, (obs,), f"carry: should be given, {LINES}; the policy remembers its episode"),
        (blind, (obs, np.ones(2)), f"carry: should be a Carry, {LINES}, not ndarray"),
        (
            blind,
            ([obs] * 3, blind.start(2)),
            "of 3 episodes, as obs is, not 2; policy.start(3) begins as many",
        ),
        (blind, (obs, sees.start()), "it is that of another network"),
        (blind, (obs, blind.start(), 1.0), "reward: should be left out; the network sees none"),
        (sees, (obs, sees(obs, sees.start())[1]), "reward: should be given as policy(obs, carry, reward)"),
        (sees, (obs, sees.start(), [1, 2]), "should be a finite number for each of 1 episodes, not [1, 2]"),
        (plain, (obs, Carry(*blind.start())), f"carry: should be left out; the policy {nothing}"),
        (plain, (obs, None, 1.0), f"reward: should be left out; the policy {nothing}"),
    ]
    for policy, given, text in wrong:
        with pytest.raises(ValueError, match=re.escape(text)):
            policy(*given)
    with pytest.raises(ValueError, match=re.escape(f"{nothing}; policy(obs) needs no carry")):
        plain.start()
    blind._factory = masked
    with pytest.raises(ValueError, match=re.escape("policy(obs, carry, mask=info['action_mask'])")):
        blind(obs, blind.start())
    action, _ = blind(obs, blind.start(), mask=[0, 1])
    assert action == 1


def test_a_video_plays_the_episode_of_the_loop():
    """The filmed policy remembers, and sees its actions and learned rewards, as in the user's loop."""
    policy = policy_for(*SEES)
    camera = Camera(factory=policy._factory, seeds=range(4, 5), max_steps=None)
    env = camera._factory.make(training=False)
    env.render = lambda: np.zeros((2, 2, 3), np.uint8)
    returns, _ = play(policy, integer(4, "video", 3))
    assert sum(reward for _, reward in camera._play(env, policy.policy, 3)) == returns[0]
    env.close()


@pytest.mark.parametrize("overrides", [SEES, BLIND], ids=" ".join)
def test_an_exported_file_carries_the_memory(overrides, tmp_path, monkeypatch):
    """A program that knows the file alone plays the actions of the policy."""
    monkeypatch.setattr("dqn.cli.export.NUM_OBS", 40)
    policy, sees = policy_for(*overrides), overrides is SEES
    inputs = play_inputs(policy, make_environments(config_of(overrides)["env"]))
    assert list(inputs) == ["obs", "carry", "previous"][: 2 + sees]
    assert export(policy, tmp_path / "x.pt2", inputs) < 1e-4
    run = torch.export.load(tmp_path / "x.pt2").module()
    env = policy.make_env()
    obs, _ = env.reset(seed=0)
    carry, reward = policy.start(), None
    state, previous = torch.zeros(1, inputs["carry"].shape[1]), torch.zeros(1, 3)
    for _ in range(8):
        values, state = run(torch.from_numpy(obs[None]), state, *[previous][:sees])
        action, carry = policy(obs, carry, *[reward][:sees])
        assert action == values.argmax()
        obs, reward, *_ = env.step(action)
        previous = torch.eye(3)[[action]] + torch.tensor([[0.0, 0.0, 0.5]])
    env.close()

    def forgets(*arrays):
        values, carry = run(*map(torch.from_numpy, arrays))
        return values.numpy(force=True), 0 * carry.numpy(force=True)

    with pytest.raises(UserError, match="differ from the policy's by"):
        compare(forgets, policy, inputs)
