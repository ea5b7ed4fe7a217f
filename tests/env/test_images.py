"""Images in observations: where they are found, where their channels are, how they are stored."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import FACTORY
from gymnasium import spaces

from dqn.env import EnvFactory, encoder
from dqn.env.spec import image_of
from dqn.errors import UserError


def pixels(*shape: int, high: int = 255, dtype: Any = np.uint8) -> spaces.Box:
    return spaces.Box(0, high, shape, dtype)


VECTOR = spaces.Box(-1, 1, (2,), np.float32)
PLANES = {
    # space: planes by env.channels=auto, first and last (channels, height, width), other numbers
    "bytes last": (pixels(96, 90, 3), (3, 96, 90), (96, 90, 3), (3, 96, 90), 0),
    "floats first": (pixels(3, 96, 90, dtype=np.float32), (3, 96, 90), (3, 96, 90), (90, 3, 96), 0),
    "one channel": (pixels(8, 8, 1, high=1, dtype=np.bool_), (1, 8, 8), (8, 8, 1), (1, 8, 8), 0),
    "as many as pixels": (pixels(10, 10, 10, high=1), (10, 10, 10), (10, 10, 10), (10, 10, 10), 0),
    "more than pixels": (pixels(7, 7, 20, high=1), (20, 7, 7), (7, 7, 20), (20, 7, 7), 0),
    "more, first": (pixels(20, 7, 7, high=1), (20, 7, 7), (20, 7, 7), (7, 20, 7), 0),
    "binary": (spaces.MultiBinary([4, 9, 9]), (4, 9, 9), (4, 9, 9), (9, 4, 9), 0),
    "grey": (pixels(84, 80), *[(1, 84, 80)] * 3, 0),
    "in a dict": (spaces.Dict({"i": pixels(9, 8, 3), "v": VECTOR}), (3, 9, 8), (9, 8, 3), (3, 9, 8), 2),
    "alone in a dict": (spaces.Dict({"i": pixels(9, 8, 3)}), (3, 9, 8), (9, 8, 3), (3, 9, 8), 0),
    "larger of two": (spaces.Tuple((pixels(4, 4), pixels(5, 4))), *[(1, 5, 4)] * 3, 16),
}


@pytest.mark.parametrize("name", PLANES)
def test_where_the_channels_are(name):
    space, auto, first, last, rest = PLANES[name]
    for channels, planes in (("auto", auto), ("first", first), ("last", last)):
        image = image_of(space, channels)
        assert (image.planes, image.rest) == (planes, rest)


NONE = {
    "vector": VECTOR,
    "stack of vectors": spaces.Box(-1, 1, (4, 3), np.float32),
    "four axes": pixels(4, 8, 8, 3),
    "categories": spaces.MultiDiscrete(np.full((2, 3, 3), 4)),
    "empty": spaces.Dict({"i": pixels(0, 8, 3), "v": VECTOR}),
    "beside no numbers": spaces.Dict({"i": pixels(8, 8, 3), "mission": spaces.Space()}),
}


@pytest.mark.parametrize("name", NONE)
def test_no_images(name):
    assert image_of(NONE[name], "auto") is None


def test_the_only_part_is_stored_as_the_image_itself():
    picture = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    encode, encoded = encoder(spaces.Tuple((pixels(4, 3, 2),)), scale_bytes=True, action_mask=None)
    assert encoded == pixels(4, 3, 2)
    np.testing.assert_array_equal(encode((picture,)), picture)


class Given(gymnasium.Env[Any, Any]):
    action_space = spaces.Discrete(2)

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.observation_space = space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observation_space.sample(), {}

    def step(self, action: int) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


SHAPES = [
    # space, stack: stored shape, shape in acting, shape for the torso
    (pixels(9, 8, 3), 1, (9, 8, 3), (9, 8, 3), (3, 9, 8)),
    (pixels(9, 8, 3), 4, (9, 8, 3), (4, 9, 8, 3), (12, 9, 8)),
    (pixels(9, 8), 4, (9, 8), (4, 9, 8), (4, 9, 8)),
    (spaces.Dict({"i": pixels(9, 8), "v": VECTOR}), 1, (74,), (74,), (74,)),
    (spaces.Dict({"i": pixels(9, 8), "v": VECTOR}), 4, (74,), (4, 74), (4 * 74,)),
]


@pytest.mark.parametrize(("space", "stack", *("stored", "stacked", "encoded")), SHAPES)
def test_shapes(space, stack, stored, stacked, encoded):
    settings = FACTORY | {"frame_stack": stack, "maker": lambda: Given(space)}
    obs = EnvFactory(id="python/given", kwargs={}, **settings).inspect().obs
    assert (obs.shape, obs.stacked_shape, obs.encoded_shape) == (stored, stacked, encoded)


FILTER = r'"env.wrappers=\[{_target_: gymnasium.wrappers.FilterObservation, filter_keys: \[i\]}\]" keeps'


@pytest.mark.parametrize(
    ("id", "advice"),
    [("Given-v0", FILTER), ("MiniGrid-Given-v0", "type env=minigrid env.id=MiniGrid-Given-v0, which leaves")],
)
def test_no_numbers_beside_an_image(id, advice):
    space = spaces.Dict({"i": pixels(8, 8, 3), "mission": spaces.Space()})
    gymnasium.register(id, lambda: Given(space))
    try:
        with pytest.raises(UserError, match=f"its observations are .*; {advice}"):
            EnvFactory(id=id, kwargs={}, **FACTORY).inspect()
    finally:
        gymnasium.registry.pop(id)
