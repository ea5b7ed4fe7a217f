"""One environment: its wrappers, their order, and what is known of it without making it twice."""

import pickle
import sys
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import FACTORY, make_environments
from gymnasium import spaces
from gymnasium.wrappers import ClipReward, FrameStackObservation, TimeLimit
from wrapped import Late, Longer, nothing, plus, times

from dqn.env import EnvFactory, Guard
from dqn.env.encoding import encoder
from dqn.env.make import Wrapper
from dqn.env.spec import obs_spec, time_limit
from dqn.errors import WrongValue


def factory(
    *wrappers: Wrapper, id: str = "CartPole-v1", training: tuple[Wrapper, ...] = (), **kwargs: Any
) -> EnvFactory:
    return EnvFactory(id=id, kwargs=kwargs, **FACTORY | {"wrappers": wrappers, "training_wrappers": training})


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


class LimitInside(gymnasium.Env):
    """Has its own time limit, as the environments of MiniGrid and Atari do."""

    observation_space = action_space = spaces.Discrete(2)
    max_steps = 30


gymnasium.register("LimitInside-v0", LimitInside)


@pytest.mark.parametrize(("limits", "expected"), [([], 30), ([20], 20), ([40], 30)])
def test_a_time_limit_inside_the_environment_counts(limits, expected):
    env = gymnasium.make("LimitInside-v0", disable_env_checker=True)
    for limit in limits:
        env = TimeLimit(env, max_episode_steps=limit)
    assert time_limit(env) == expected


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


IMAGE, BIT = spaces.Box(0, 255, (1, 2), np.uint8), spaces.Box(0, 1, (1,), np.uint8)
PIXELS = np.array([[51, 255]], np.uint8)
VECTOR = spaces.Box(-300, 300, (2,), np.float64)
READ = {
    # space: (an observation, how it is stored, how the network reads it)
    "image": (IMAGE, PIXELS, np.uint8, [0.2, 1]),
    "image of few values": (BIT, np.ones(1, np.uint8), np.uint8, [1]),
    "two images": (spaces.Tuple((IMAGE, IMAGE)), (PIXELS, PIXELS), np.uint8, [0.2, 1, 0.2, 1]),
    "no image": (spaces.Tuple((BIT, VECTOR)), ([1], [255, 51]), np.float32, [1, 255, 51]),
    "image and vector": (
        spaces.Dict({"image": IMAGE, "vector": VECTOR}),
        {"image": PIXELS, "vector": np.array([255, -255.0])},
        np.float32,
        [0.2, 1, 255, -255],
    ),
    "image and bit": (spaces.Tuple((BIT, IMAGE)), ([1], PIXELS), np.float32, [0.2, 1, 1]),
    "image and category": (
        spaces.Tuple((spaces.Tuple((IMAGE, spaces.Discrete(2, start=4))), spaces.MultiBinary(2))),
        ((PIXELS, 5), [0, 1]),
        np.float32,
        [0.2, 1, 0, 1, 0, 1],
    ),
}


@pytest.mark.parametrize("name", READ)
def test_bytes_are_divided_in_each_part(name):
    """Whatever stands beside them."""
    space, obs, dtype, expected = READ[name]
    flat = [51, 255, 1] if name == "image and bit" else spaces.flatten(space, obs)
    for scale_bytes, read in ((True, expected), (False, flat)):
        encode, encoded = encoder(space, scale_bytes=scale_bytes, action_mask=None)
        spec = obs_spec(encoded, "Any-v0", scale_bytes=scale_bytes, stack=1, image=None)
        assert encoded.contains(encode(obs))
        stored = np.asarray(encode(obs)).astype(spec.dtype)
        assert np.ravel(stored * np.float32(spec.scale)) == pytest.approx(read)
        assert spec.dtype == dtype or not scale_bytes


EMPTY = spaces.Box(-1, 1, (0,))
DECLARED = {
    "no numbers": ({"observation_space": EMPTY}, r"are Box\(.*, which hold no numbers$"),
    "no numbers by parts": ({"observation_space": spaces.Tuple((EMPTY, EMPTY))}, "hold no numbers$"),
    "no parts": ({"observation_space": spaces.Dict({})}, r"are Dict\(\), which hold no numbers$"),
    "none": ({"observation_space": None}, "observation_space should be a space of Gymnasium; it is None$"),
    "text": ({"observation_space": "Box"}, "it is 'Box'$"),
    "no actions": ({"action_space": None}, "action_space should be a space of Gymnasium; it is None$"),
    "closing": ({"close": lambda _: sys.exit(0)}, None),
}


@pytest.mark.parametrize("name", DECLARED)
def test_what_an_environment_declares(name, caplog):
    """A mistake is named; an error in closing is only logged, because it is all there."""
    attributes, text = DECLARED[name]
    spec = {"observation_space": IMAGE, "action_space": spaces.Discrete(2)} | attributes
    gymnasium.register("Declared-v0", type("Declared", (gymnasium.Env,), spec))
    try:
        if text is None:
            assert factory(id="Declared-v0").inspect().num_actions == 2
            assert caplog.messages == ["warning: env.id=Declared-v0 could not be closed (SystemExit: 0)"]
        else:
            with pytest.raises(WrongValue, match=f"env.id=Declared-v0: its .*{text}"):
                factory(id="Declared-v0").inspect()
    finally:
        gymnasium.registry.pop("Declared-v0")


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
    env = make_environments(
        seeds=[0, 1],
        reward_scale=0.5,
        vectorization=vectorization,
        training=training,
        wrappers=[partial(plus, amount=1.0), partial(TimeLimit, max_episode_steps=2)],
        training_wrappers=[partial(times, factor=10.0)],
    )
    env.reset(0)
    steps = [env.step(np.zeros((2, 2), int)) for _ in range(2)]
    env.close()
    assert (steps[0].raw_reward == (20 if training else 2)).all()
    assert (steps[0].reward == (10 if training else 1)).all()
    assert [step.truncated.all() for step in steps] == [False, True]
