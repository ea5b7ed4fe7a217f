"""One-hot images of MiniGrid's codes, of the agent's own view and of the whole grid."""

import gymnasium
import numpy as np
import pytest

pytest.importorskip("minigrid")

from minigrid.core.constants import OBJECT_TO_IDX
from minigrid.wrappers import FullyObsWrapper, ViewSizeWrapper

from dqn.env import OneHotGrid

COUNTS = {0: 11, 1: 6, 2: 4}


@pytest.mark.parametrize(
    ("view", "size"), [(lambda env: env, 7), (FullyObsWrapper, 5), (lambda env: ViewSizeWrapper(env, 3), 3)]
)
def test_each_code_becomes_planes_of_which_one_is_set(view, size):
    def make():
        return view(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))

    codes, planes = make(), OneHotGrid(make())
    assert planes.observation_space.shape == (size, size, 21)
    steps = [(one.reset(seed=3)[0], other.reset(seed=3)[0]) for one, other in [(codes, planes)]]
    steps += [
        (codes.step(action)[0], planes.step(action)[0]) for action in (0, 0, 0, 0, 1, 2, 3, 2, 5, 2, 1, 2)
    ]
    for with_codes, obs in steps:
        assert planes.observation_space.contains(obs)
        start = 0
        for code, count in COUNTS.items():
            part = obs[..., start : start + count]
            np.testing.assert_array_equal(part.argmax(-1), with_codes["image"][..., code])
            assert (part.sum(-1) == 1).all()
            start += count
    if view is FullyObsWrapper:
        assert any(obs[..., 17:][obs[..., OBJECT_TO_IDX["agent"]] == 1][0, 3] for _, obs in steps)


def test_other_observations_are_refused():
    with pytest.raises(ValueError, match="should have MiniGrid's observations, not Box"):
        OneHotGrid(gymnasium.make("CartPole-v1"))
