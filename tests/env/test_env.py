"""Environments as columns: spaces, rewards, ends, pauses, seeds."""

import re
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import FACTORY, Spaces, make_environments
from gymnasium.wrappers import FrameStackObservation, TimeLimit
from helpers import make_runner

from dqn.env import EnvFactory, Environments, Guard
from dqn.errors import UserError, install


def factory(id: str, **kwargs: Any) -> EnvFactory:
    return EnvFactory(id=id, kwargs=kwargs, **FACTORY)


def play(env: Environments, steps: int = 60) -> list[np.ndarray]:
    """Return the observations of a fixed sequence of actions, ended environments restarted."""
    obs = [env.reset(4)]
    for step in range(steps):
        result = env.step(np.full((3, 2), step % 2))
        obs.append(result.next_obs)
        ended = result.terminated | result.truncated
        if ended.any():
            obs.append(env.restart(ended))
    env.close()
    return obs


def test_async_equals_sync():
    for ours, theirs in zip(
        play(make_environments()), play(make_environments(vectorization="async")), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_every_column_has_a_seed_of_its_own_and_keeps_it_in_any_stack():
    columns = play(make_environments())[0]
    assert len({tuple(obs) for obs in columns.reshape(-1, 4).tolist()}) == 6
    alone = make_environments(seeds=[1])
    np.testing.assert_array_equal(alone.reset(4)[0], columns[1])
    assert not np.array_equal(alone.reset(5)[0], columns[1])
    alone.close()


@pytest.mark.parametrize(("training", "key"), [(True, "env.num_envs"), (False, "runner.eval_num_envs")])
def test_where_the_first_environment_keeps_others_from_being_made_the_keys_are_named(training, key):
    given: Any = {"id": "Counting-v0", "kwargs": {"strict": True}, "training": training}
    text = rf"the port is in use\): 2 at a time; one at a time with num_seeds=1 {key}=1$"
    with pytest.raises(UserError, match=text):
        make_environments(num_envs=2, seeds=[1], **given).reset(0)
    alone = make_environments(num_envs=1, seeds=[1], **given)
    alone.reset(0)
    alone.close()


def test_step_returns_the_true_last_observation():
    """CartPole ends where the pole leans or the cart leaves; a reset observation does neither."""
    env = make_environments()
    env.reset(0)
    for _ in range(30):
        step = env.step(np.ones((3, 2), int))
        ended = step.terminated
        for obs in step.next_obs[ended]:
            assert abs(obs[2]) > 0.2 or abs(obs[0]) > 2.4
        if ended.any():
            fresh = env.restart(ended)
            assert (abs(fresh[ended]) <= 0.05).all()
            np.testing.assert_array_equal(fresh[~ended], step.next_obs[~ended])
    env.close()


def test_no_step_asks_whether_there_was_a_reset():
    """And nothing else is taken away."""
    env: Any = factory("CartPole-v1").make(training=True)
    layers = []
    while env is not env.unwrapped:
        layers.append(type(env))
        env = env.env
    assert layers == [Guard, TimeLimit]


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_paused_columns_stay_as_they_are(vectorization):
    env = make_environments(num_envs=1, vectorization=vectorization)
    env.reset(0)
    waiting = np.zeros((3, 1), bool)
    last = np.zeros((3, 1, 4), np.float32)
    for tick in range(200):
        step = env.step(np.array([[1], [tick % 2], [0]]))
        assert not (step.terminated & waiting).any()
        assert (step.raw_reward[waiting] == 0).all()
        np.testing.assert_array_equal(step.next_obs[waiting], last[waiting])
        ended = step.terminated
        last[ended] = step.next_obs[ended]
        waiting |= ended
        if waiting.all():
            break
        if ended.any():
            env.pause(ended)
    assert waiting.all()
    assert (abs(env.restart(waiting)) <= 0.05).all()
    env.close()


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("given", [{"max_episode_steps": 5}, {"kwargs": {"max_episode_steps": 5}}])
def test_time_limit(terminal, given):
    env = make_environments(**given, time_limit_is_terminal=terminal)
    assert env.spec.time_limit == 5
    env.reset(0)
    steps = [env.step(np.full((3, 2), step % 2)) for step in range(5)]
    env.close()
    assert not any((step.terminated | step.truncated).any() for step in steps[:-1])
    assert (steps[-1].terminated == terminal).all()
    assert (steps[-1].truncated != terminal).all()


def test_rewards_are_clipped_then_scaled_and_returns_raw():
    env = make_environments(
        "Spaces-v0", kwargs={"name": "box", "start": -3}, reward_clip=2.0, reward_scale=10.0
    )
    env.reset(0)
    step = env.step(np.array([[0, 1], [2, 2], [2, 1]]))
    env.close()
    assert step.raw_reward.tolist() == [[-3, -2], [-1, -1], [-1, -2]]
    assert step.reward.tolist() == [[-20, -20], [-10, -10], [-10, -20]]
    assert step.reward.dtype == np.float32


KWARGS = {"name": "box"}
EXPECTED = {
    "scalar": ((1,), np.float32, 0, 1.0),
    "box": ((2, 3), np.float32, 0, 1.0),
    "bytes": ((4, 4, 1), np.uint8, 0, 1 / 255),
    "small": ((2,), np.float32, 0, 1.0),
    "wide": ((2,), np.float32, 0, 1.0),
    "discrete": ((), np.uint8, 5, 1.0),
    "binary": ((4,), np.int8, 0, 1.0),
    "multi": ((5,), np.uint8, 0, 1.0),
    "dict": ((5,), np.float32, 0, 1.0),
    "tuple": ((6,), np.uint8, 0, 1.0),
    "bools": ((4, 3, 2), np.bool_, 0, 1.0),
    "mixed": ((28,), np.float32, 0, 1.0),
}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_observation_spaces(name, vectorization):
    env = make_environments(
        "Spaces-v0", kwargs={"name": name}, vectorization=vectorization, num_envs=1, seeds=[7]
    )
    assert env.spec.obs[:4] == EXPECTED[name]
    obs = env.reset(0)
    step = env.step(np.array([[1]]))
    env.close()
    assert obs.dtype == step.next_obs.dtype == env.spec.obs.dtype
    assert obs.shape == (1, 1, *env.spec.obs.shape)
    assert_is_the_flat_sample(name, obs[0, 0], env)


def assert_is_the_flat_sample(name: str, obs: np.ndarray, env: Environments) -> None:
    """The stored numbers are those of the space's own sample, flattened by Gymnasium, images first."""
    from dqn.seeding import integer

    space = Spaces.SPACES[name]
    space.seed(integer(7, "environment", 0, 0))
    sample = space.sample()
    if name == "discrete":
        assert obs == sample - 3
    elif name == "mixed":
        picture, direction = sample["picture"].ravel() / 255, np.eye(3)[sample["direction"] - 1]
        np.testing.assert_allclose(obs, [*picture, *direction, *sample["speed"]], rtol=1e-6)
    elif name in ("multi", "dict", "tuple"):
        np.testing.assert_allclose(obs, gymnasium.spaces.flatten(space, sample), rtol=1e-6)
    else:
        np.testing.assert_allclose(obs, sample, rtol=1e-6)


@pytest.mark.parametrize("name", ["text", "told", "sequence"])
def test_other_spaces_are_refused(name):
    with pytest.raises(UserError, match=r"env\.id=Spaces-v0: its observations are"):
        factory("Spaces-v0", name=name).inspect()


def test_frames_that_would_be_stacked_twice_are_refused():
    wrappers = [partial(FrameStackObservation, stack_size=2)]
    twice = replace(factory("CartPole-v1"), wrappers=wrappers, frame_stack=4)
    with pytest.raises(UserError, match=r"env\.frame_stack=4: should be 1: a wrapper FrameStackObservation"):
        twice.inspect()


def test_continuous_actions_are_refused():
    with pytest.raises(UserError, match=r"env\.id=Pendulum-v1.*Discrete"):
        factory("Pendulum-v1").inspect()


def test_spec_of_cartpole():
    spec = factory("CartPole-v1").inspect()
    assert (spec.obs.shape, spec.num_actions, spec.time_limit) == ((4,), 2, 500)


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    with pytest.raises(UserError, match=r"env\.id=LunarLander-v3: .*" + re.escape(install("box2d"))):
        factory("LunarLander-v3").inspect()


@pytest.mark.parametrize("name", EXPECTED)
def test_every_observation_space_trains(tmp_path, name):
    """Acting, storing and an update, by torch and by NumPy."""
    words = [
        *("env.id=Spaces-v0", "env.module=envs", f"+env.kwargs.name={name}", "runner=steps"),
        *("runner.total_steps=40", "runner.iteration_length=20", "runner.learning_starts=10"),
        *("runner.batch_size=4", "runner.eval_episodes=0", "network.torso.hidden_sizes=[4]"),
    ]
    runner = make_runner(tmp_path, words)
    runner.run()
    assert runner.counters.updates > 0
