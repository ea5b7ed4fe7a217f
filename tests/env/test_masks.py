"""Masks of valid actions: where environments give them, what is refused, and who follows them."""

from typing import Any

import numpy as np
import pytest
import torch
from commands import call
from envs import FACTORY, Masked, make_environments
from gymnasium import spaces
from helpers import TINY_STEPS

import dqn
from dqn.agent import Actor
from dqn.env import EnvFactory, Guard
from dqn.errors import EnvFailed, WrongValue
from dqn.runner.clock import whole_rounds
from dqn.runner.collector import Collector
from dqn.seeding import Uniforms, stream

OBSERVES = {"info": False, "obs": True}


def play(source: str, vectorization: str) -> list[Any]:
    """Return the rows of 60 steps; the environment asserts that each action is valid."""
    kwargs = {"observes": OBSERVES[source], "start": 2}
    env = make_environments(
        "Masked-v0", seeds=[0, 1], kwargs=kwargs, action_mask=source, vectorization=vectorization
    )
    actor = Actor(
        q_values=lambda obs, rng: np.tile(np.float32([0, 3, 1, 2]), (2, 2, 1)),
        num_actions=4,
        stack=1,
        padding=0,
        exploration=Uniforms([stream(seed, "test") for seed in (0, 1)], (2, 2)),
        noise=None,
    )
    collector = Collector(env=env, actor=actor, ticks=whole_rounds)
    collector.start(0)
    rows = [collector.collect(0.5, 99).row for _ in range(60)]
    env.close()
    return rows


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_masks_come_with_their_observations():
    """From infos and from observations, in this process and in others: the same rows."""
    plays = [play("info", "sync"), play("obs", "sync"), play("info", "async")]
    for rows in zip(*plays, strict=True):
        for other in rows[1:]:
            for mine, theirs in zip(rows[0], other, strict=True):
                np.testing.assert_array_equal(mine, theirs)
    for row, following in zip(plays[0], plays[0][1:], strict=False):
        continues = row.active & following.active & ~(row.terminated | row.truncated)
        np.testing.assert_array_equal(row.next_mask[continues], following.mask[continues])
        assert row.next_mask[row.terminated].all(), "none was valid, and nothing depends on it"
        assert row.mask.any(-1).all()
    assert any(row.terminated.any() for row in plays[0])
    assert any((~row.active).any() for row in plays[0]), "some waited"


def test_the_network_does_not_read_the_mask():
    spec = EnvFactory(
        id="Masked-v0", kwargs={"observes": True}, **FACTORY | {"module": "envs", "action_mask": "obs"}
    ).inspect()
    assert spec.obs.shape == (2,)
    assert spec.has_mask


WRONG = {
    "no action": (
        [0, 0, 0, 0],
        "the action_mask [0, 0, 0, 0] allows no action; at least one should be valid",
    ),
    "shape": (
        [1, 0, 1],
        "should be zeros and ones of the shape (4,), whose last axis is that of the actions",
    ),
    "numbers": ([1, 2, 0, 0], "should be zeros and ones, or booleans"),
    "text": ("all", "the action_mask 'all' should be zeros and ones of the shape (4,)"),
    "missing": (None, "its info has no action_mask, which env.action_mask=info needs at every step"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_masks_are_named(name):
    wrong, text = WRONG[name]
    env = Masked(wrong=wrong)
    guard = Guard(env, id="Masked-v0", action_mask="info")
    with pytest.raises(EnvFailed) as error:  # noqa: PT012
        for steps in (2, 3):
            guard.reset(seed=steps)
            env.length, env.terminates = 9, False
            for _ in range(steps):
                guard.step(int(env.mask.argmax()))
    assert str(error.value).startswith("env.id=Masked-v0 failed in step 3 of its episode 2: ")
    assert text in str(error.value)


def test_an_environment_that_refuses_actions_has_a_hint():
    guard = Guard(Masked(), id="Masked-v0")
    guard.reset(seed=0)
    with pytest.raises(
        EnvFailed, match=r"3 is invalid: .*; its info has action_mask: .* env\.action_mask=info"
    ):
        guard.step(int(guard.env.mask.argmin()))


UNFIT = [
    ("CartPole-v1", {}, "info", "env.action_mask=info: should be null: a reset of CartPole-v1 gives no info"),
    (
        "Masked-v0",
        {"observes": True},
        "info",
        "env.action_mask=info: should be obs: a reset of Masked-v0 gives",
    ),
    ("Masked-v0", {}, "obs", "env.action_mask=obs: should be info: Masked-v0 observes Box"),
    ("CartPole-v1", {}, "obs", "which is no Dict with a part action_mask of 2 numbers and another part"),
]


@pytest.mark.parametrize(("id", "kwargs", "source", "text"), UNFIT)
def test_an_environment_without_masks_is_refused_before_the_run(id, kwargs, source, text):
    with pytest.raises(WrongValue) as error:
        EnvFactory(id=id, kwargs=kwargs, **FACTORY | {"action_mask": source}).inspect()
    assert text in str(error.value)


@pytest.mark.parametrize("source", OBSERVES)
def test_trained_policies_follow_the_mask(source, tmp_path):
    """Training, evaluation, the policy as a function, in its environment, and in a file."""
    words = ["env.id=Masked-v0", "env.module=envs", f"env.action_mask={source}", "agent=munchausen"]
    words += [f"+env.kwargs.observes={OBSERVES[source]}", "+env.kwargs.start=2", "env.frame_stack=2"]
    run = dqn.train([*TINY_STEPS, *words, "runner.eval_episodes=3", f"hydra.run.dir={tmp_path / 'run'}"])
    policy = run.load()
    env = policy.make_env()
    for seed in range(5):
        obs, info = env.reset(seed=seed)
        ended = False
        while not ended:  # the environment asserts that actions are valid
            action = policy(obs) if source == "obs" else policy(obs, info["action_mask"])
            obs, _, terminated, truncated, info = env.step(action)
            ended = terminated or truncated
    many = [env.reset(seed=seed) for seed in range(4)]
    masks = np.array(
        [env_info["action_mask"] if source == "info" else obs["action_mask"][-1] for obs, env_info in many]
    )
    batch = [obs for obs, _ in many] if source == "obs" else np.stack([obs for obs, _ in many])
    values = policy.q_values(batch)
    actions = policy(batch) if source == "obs" else policy(batch, masks)
    assert actions.tolist() == (np.where(masks, values, -np.inf).argmax(-1) + 2).tolist()
    given = {"mask": masks} if source == "obs" else {}
    should = (
        "left out; the observation has it"
        if source == "obs"
        else r"given as policy\(obs, info\['action_mask'\]\)"
    )
    with pytest.raises(ValueError, match=f"mask: should be {should}"):
        policy(batch, **given)
    if source == "info":
        with pytest.raises(ValueError, match="allows no action"):
            policy(batch, 0 * masks)
        with pytest.raises(ValueError, match=r"of the shape \(4, 4\)"):
            policy(batch, masks[0])
        file = tmp_path / "policy.pt2"
        result = call("export", run.folder, file, "--trust", "envs")
        text = "observations [B, 2, 2] of float32 and masks [B, 4] of bool to action values [B, 4], -inf for"
        assert text in result.text
        module = torch.export.load(file).module()
        found = module(torch.from_numpy(policy.encode(batch)), torch.from_numpy(masks > 0)).numpy(force=True)
        np.testing.assert_allclose(found, np.where(masks, values, -np.inf), rtol=1e-4, atol=1e-5)


def test_unused_masks_are_mentioned(tmp_path, capsys):
    words = ["env.id=Taxi-v4", "env=base", "runner.total_steps=20", "runner.iteration_length=20"]
    dqn.train([*TINY_STEPS, *words, f"hydra.run.dir={tmp_path / 'run'}"])
    text = "Taxi-v4 gives info['action_mask']; env.action_mask=info takes only the actions that it allows"
    assert capsys.readouterr().out.count(text) == 1


def test_spaces_of_observations_with_a_mask():
    """What is left of a Dict of two parts is the other part, whatever it is."""
    discrete = spaces.Dict({"action_mask": spaces.MultiBinary(4), "state": spaces.Discrete(500, start=1)})

    class Counted(Masked):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = discrete

    factory = EnvFactory(id="python/x", kwargs={}, **FACTORY | {"action_mask": "obs", "maker": Counted})
    assert factory.inspect().obs.num_categories == 500
