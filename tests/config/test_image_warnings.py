"""What is said, before a run starts, about its observations with images."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from helpers import config_of

from dqn.config.validate import check


class Screen(gymnasium.Env[Any, Any]):
    """Images of a shape, perhaps a second one and lives."""

    action_space = spaces.Discrete(2)

    def __init__(
        self, shape: list[int], other: list[int] | None = None, lives: bool = False, dtype: str = "uint8"
    ) -> None:
        parts = [spaces.Box(0, 255, one, np.dtype(dtype).type) for one in (shape, other) if one]
        self.observation_space: spaces.Space[Any] = spaces.Tuple(parts) if other else parts[0]
        self.info = {"life_lost": False} if lives else {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observation_space.sample(), {}

    def step(self, action: int) -> Any:
        return self.observation_space.sample(), 0.0, False, False, self.info


gymnasium.register("Screen-v0", Screen)

MLP = "network/torso=mlp learns slowly from the {} numbers of images; type network/torso={}, which reads"
WARNINGS = {
    "mlp": ("[96,96,3]", "env.frame_stack=2", MLP.format("55,296", "nature")),
    "mlp, small": ("[30,30,3]", "", MLP.format("2,700", "minatar")),
    "mlp, tiny": ("[10,10,10]", "", None),
    "nature": ("[96,96,3]", "network/torso=nature", None),
    "one key": ("[3,40,41]", "network/torso=minatar env.channels=first", None),
    "wrong channels": (
        "[3,40,41]",
        "network/torso=minatar env.channels=last",
        "of images [3, 40, 41], env.channels=last reads 41 channels of 3 x 40 pixels, and env.channels=auto"
        " reads 3 channels of 40 x 41 pixels",
    ),
    "two images": (
        "[10,10,1]",
        "network/torso=minatar +env.kwargs.other=[12,12,1]",
        "Screen-v0 observes 2 images; network.torso reads the one of shape [12, 12, 1] by convolutions, and"
        " the numbers of [10, 10, 1] like those of a vector",
    ),
    "floats": (
        "[10,10,1]",
        "network/torso=minatar +env.kwargs.dtype=float32",
        "images of float32 up to 255 are not scaled; network.obs_scale=0.003922 makes them at most 1",
    ),
    "scaled": ("[10,10,1]", "network.obs_scale=0.01 +env.kwargs.dtype=float32", None),
    "lives": ("[10,10,1]", "env.life_loss_is_terminal=true +env.kwargs.lives=true", None),
}


def checked(shape: str, words: str) -> Any:
    id = ["env.id=Screen-v0", "env.module=test_image_warnings", f"+env.kwargs.shape={shape}"]
    return check(config_of([*id, *words.split()]))


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings(name):
    shape, words, text = WARNINGS[name]
    report = checked(shape, words)
    report.raise_if_any()
    assert len(report.warnings) == (text is not None), report.warnings
    assert text is None or report.warnings[0].startswith(text)


PROBLEMS = [
    (
        "[10,10,4]",
        "network/torso=nature",
        "at most 1: convolution 2 reads 1 x 1 pixels .* network/torso=minatar",
    ),
    (
        "[3,96,96]",
        "network/torso=nature env.channels=last",
        r"reads 3 x 96 pixels in 96 channels \(env\.channels says",
    ),
    (
        "[4,40,40,3]",
        "network/torso=nature",
        r"needs images, .* \(4, 40, 40, 3\); type env\.frame_stack=4 in pl",
    ),
    ("[10,10,4]", "env.frame_stack=0", r"env\.frame_stack=0: should be greater than 0"),
    ("[9,9,4]", "env.frame_stack=20000", r"env\.frame_stack=20000: should be at most the 10000 steps of"),
    ("[9,9,4]", "env.channels=middle", r"env\.channels=middle: .*'auto', 'first' or 'last'"),
    (
        "[9,9,4]",
        "env.life_loss_is_terminal=true",
        r'should be false: the first step of Screen-v0 reports no info\["life_lost"\]; each has to',
    ),
]


@pytest.mark.parametrize(("shape", "words", "text"), PROBLEMS, ids=[words for _, words, _ in PROBLEMS])
def test_mistakes(shape, words, text):
    with pytest.raises(Exception, match=text):
        checked(shape, words).raise_if_any()
