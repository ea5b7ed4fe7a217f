"""One-hot images of MiniGrid's codes, of the agent's own view and of the whole grid."""

import gymnasium
import numpy as np
import pytest
from helpers import config_of

pytest.importorskip("minigrid")

from minigrid.core.constants import COLOR_TO_IDX, DIR_TO_VEC, OBJECT_TO_IDX
from minigrid.wrappers import FullyObsWrapper, ImgObsWrapper, ViewSizeWrapper

from dqn.env import OneHot

COUNTS = (len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(DIR_TO_VEC))


@pytest.mark.parametrize(
    ("view", "size"), [(lambda env: env, 7), (FullyObsWrapper, 5), (lambda env: ViewSizeWrapper(env, 3), 3)]
)
def test_each_code_becomes_planes_of_which_one_is_set(view, size):
    def make():
        return view(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))

    codes, planes = make(), OneHot(make(), counts=COUNTS)
    assert planes.observation_space.shape == (size, size, 21)
    steps = [(one.reset(seed=3)[0], other.reset(seed=3)[0]) for one, other in [(codes, planes)]]
    steps += [
        (codes.step(action)[0], planes.step(action)[0]) for action in (0, 0, 0, 0, 1, 2, 3, 2, 5, 2, 1, 2)
    ]
    for with_codes, obs in steps:
        assert planes.observation_space.contains(obs)
        start = 0
        for code, count in enumerate(COUNTS):
            part = obs[..., start : start + count]
            np.testing.assert_array_equal(part.argmax(-1), with_codes["image"][..., code])
            assert (part.sum(-1) == 1).all()
            start += count
    if view is FullyObsWrapper:
        assert any(obs[..., 17:][obs[..., OBJECT_TO_IDX["agent"]] == 1][0, 3] for _, obs in steps)


def test_images_without_a_dict():
    image, planes = ImgObsWrapper(gymnasium.make("MiniGrid-Empty-5x5-v0")), []
    for env in (image, image.env):
        planes.append(OneHot(env, counts=COUNTS).reset(seed=1)[0])
    np.testing.assert_array_equal(*planes)


def test_the_option_counts_the_codes():
    assert config_of(["env=minigrid", "env.id=x"])["env"]["wrappers"][0]["counts"] == list(COUNTS)


def test_other_observations_are_refused():
    with pytest.raises(ValueError, match="should have images of 3 codes; they are Box"):
        OneHot(gymnasium.make("CartPole-v1"), counts=COUNTS)
