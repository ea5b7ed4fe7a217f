"""One environment: its wrappers, their order, and what is known of it without making it twice."""

import pickle
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import Spaces  # noqa: F401  registers the environments
from gymnasium.wrappers import ClipReward, FrameStackObservation, TimeLimit
from wrapped import Late, Longer, nothing, plus, times

from dqn.env import EnvFactory, Environments, Guard
from dqn.env.make import Wrapper
from dqn.errors import WrongValue


def factory(
    *wrappers: Wrapper, id: str = "CartPole-v1", training: tuple[Wrapper, ...] = (), **kwargs: Any
) -> EnvFactory:
    common: Any = {"module": None, "max_episode_steps": None}
    return EnvFactory(id=id, kwargs=kwargs, wrappers=wrappers, training_wrappers=training, **common)


def reward_of(env: gymnasium.Env) -> float:
    env.reset(seed=0)
    reward = env.step(0)[1]
    env.close()
    return float(reward)


def test_the_first_wrapper_is_the_innermost():
    add, scale = partial(plus, amount=1.0), partial(times, factor=10.0)
    assert reward_of(factory(add, scale).make(training=False)) == 20
    assert reward_of(factory(scale, add).make(training=False)) == 11


def test_training_wrappers_are_outside_and_in_training_alone():
    one = factory(partial(plus, amount=1.0), training=(partial(times, factor=10.0),))
    assert reward_of(one.make(training=True)) == 20
    assert reward_of(one.make(training=False)) == 2
    assert reward_of(one.make(training=True)) == 20


def test_the_environment_is_adapted_after_its_wrappers():
    one = factory(partial(plus, amount=0.5), id="Spaces-v0", name="discrete", start=2)
    wrapped, adapted = one.make_wrapped(training=True), one.make(training=True)
    assert (wrapped.observation_space.start, wrapped.action_space.start) == (3, 2)
    assert (adapted.observation_space.start, adapted.action_space.start) == (0, 0)
    assert reward_of(adapted) == 2.5


def test_unchecked_takes_only_the_check_away():
    env: Any = factory(partial(ClipReward, max_reward=0.5)).make(training=True)
    layers = []
    while env is not env.unwrapped:
        layers.append(type(env))
        env = env.env
    assert layers == [Guard, ClipReward, TimeLimit]


@pytest.mark.parametrize(
    ("limits", "kwargs", "expected"),
    [
        ([], {}, 500),
        ([50], {}, 50),
        ([50, 20, 30], {}, 20),
        ([900], {}, 500),
        ([], {"max_episode_steps": 900}, 900),
        ([700], {"max_episode_steps": 900}, 700),
    ],
)
def test_time_limit_is_the_shortest(limits, kwargs, expected):
    wrappers = [partial(TimeLimit, max_episode_steps=limit) for limit in limits]
    assert factory(*wrappers, **kwargs).spec.time_limit == expected
    assert factory(training=tuple(wrappers), **kwargs).spec.time_limit == expected


def test_spec_is_that_of_the_wrapped_environment():
    assert factory(partial(FrameStackObservation, stack_size=3)).spec.obs.shape == (3, 4)
    discrete = partial(gymnasium.wrappers.DiscretizeAction, bins=5)
    assert factory(discrete, id="Pendulum-v1").spec.num_actions == 5


def test_equal_factories_are_inspected_once(made):
    factory(partial(plus, amount=1.0), max_episode_steps=7).inspect()
    for _ in range(3):
        assert factory(partial(plus, amount=1.0), max_episode_steps=7).spec.time_limit == 7
    assert len(made) == 1
    assert factory(partial(plus, amount=1.0), max_episode_steps=8).spec.time_limit == 8
    assert len(made) == 2
    for other in (
        factory(partial(plus, amount=2.0)),
        factory(partial(plus, amount=True)),
        factory(partial(times, factor=2.0)),
        factory(training=(partial(plus, amount=2.0),)),
        factory(id="Acrobot-v1"),
    ):
        before = len(made)
        assert other.spec == other.spec
        assert len(made) == before + 1


def test_an_inspection_looks_afresh(made):
    """As at the check of each run: the environment may have been registered anew."""
    gymnasium.register("Changing-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=3)
    assert factory(id="Changing-v0").inspect().time_limit == 3
    gymnasium.envs.registration.registry.pop("Changing-v0")
    gymnasium.register("Changing-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=4)
    assert factory(id="Changing-v0").inspect().time_limit == 4
    assert factory(id="Changing-v0").spec.time_limit == 4
    gymnasium.envs.registration.registry.pop("Changing-v0")


def test_arguments_that_cannot_be_compared_are_inspected_again(made):
    one = factory(partial(ClipReward, max_reward=np.array(0.5)))
    assert one.spec == one.spec
    assert len(made) == 2


WRONG = [
    (partial(TimeLimit, max_episode_steps=0), "max_episode_steps': 0}: cannot wrap CartPole-v1 (ValueError"),
    (gymnasium.wrappers.GrayscaleObservation, "requires an image"),
    (partial(plus, amount=1, other=2), "unexpected keyword argument 'other'"),
    (nothing, "wrapped.nothing'}: should return an environment, not NoneType"),
    (Late, "cannot wrap CartPole-v1 (RuntimeError: too late)"),
    (Longer, "an observation has the shape (8,), observation_space is Box"),
]


@pytest.mark.parametrize(("wrapper", "text"), WRONG, ids=[text for _, text in WRONG])
def test_a_wrapper_that_does_not_work_is_named(wrapper, text):
    good = partial(plus, amount=1.0)
    with pytest.raises(WrongValue) as error:
        factory(good, wrapper).inspect()
    assert error.value.key == "env.wrappers[1]"
    assert str(error.value).startswith("env.wrappers[1]={'_target_': '")
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(WrongValue, match=r"env\.training_wrappers\[0\]="):
        factory(good, training=(wrapper,)).inspect()
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value), "as a worker process sends it"


def test_training_wrappers_keep_the_spaces():
    stack = partial(FrameStackObservation, stack_size=3)
    with pytest.raises(WrongValue, match=r"env\.training_wrappers\[1\].*env\.wrappers may change them"):
        factory(training=(partial(plus, amount=1.0), stack)).inspect()


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("training", [True, False])
def test_columns_are_wrapped(vectorization, training):
    env = Environments(
        **{"id": "CartPole-v1", "module": None, "kwargs": {}, "num_envs": 2, "seeds": [0, 1]},
        max_episode_steps=None,
        **{"reward_scale": 0.5, "reward_clip": None, "time_limit_is_terminal": False},
        **{"vectorization": vectorization, "role": "environment", "training": training},
        wrappers=[partial(plus, amount=1.0), partial(TimeLimit, max_episode_steps=2)],
        training_wrappers=[partial(times, factor=10.0)],
    )
    env.reset(0)
    steps = [env.step(np.zeros((2, 2), int)) for _ in range(2)]
    env.close()
    assert (steps[0].raw_reward == (20 if training else 2)).all()
    assert (steps[0].reward == (10 if training else 1)).all()
    assert [step.truncated.all() for step in steps] == [False, True]
