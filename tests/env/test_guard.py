"""The guard around an environment: what it refuses, what it lets pass, and how it names failures."""

import logging
import pickle
import signal
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dqn.env import Guard
from dqn.errors import EnvFailed

FLOATS = spaces.Box(-1, 1, (2,), np.float32)
WIDE = spaces.Box(-np.inf, np.inf, (2,), np.float64)
HALF = spaces.Box(-np.inf, np.inf, (2,), np.float16)
BYTES = spaces.Box(0, 255, (2, 2), np.uint8)
BITS = spaces.Box(0, 1, (2,), np.int64)
THREE = spaces.Discrete(3, start=2)
BOTH = spaces.Dict({"a": THREE, "b": spaces.Tuple((FLOATS, spaces.MultiDiscrete([2, 3])))})
PAIR = np.zeros(2, np.int64)


class Gives(gymnasium.Env):
    """Gives an observation, a reward and ends as told; `raises` is raised at the step with that number."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: spaces.Space, obs: Any, *rest: Any, late: int = 0, raises: Any = None) -> None:
        self.observation_space, self.obs, self.late, self.raises = space, obs, late, raises
        self.rest = rest or (1.0, False, False)
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.fail()
        return self.result(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        self.fail()
        return self.result(), *self.rest, {}

    def result(self) -> Any:
        return self.obs if self.steps >= self.late else self.observation_space.sample()

    def fail(self) -> None:
        if self.raises is not None and self.steps >= self.late:
            raise self.raises

    render = close = fail


def play(env: Gives, steps: int = 3, full_steps: int = 1) -> None:
    guard = Guard(env, id="Gives-v0", full_steps=full_steps)
    guard.reset(seed=0)
    for _ in range(steps):
        guard.step(0)


RIGHT = {
    "list": (FLOATS, [0.5, -1]),
    "float64": (FLOATS, np.array([0.5, 1.0])),
    "rounding": (spaces.Box(0, 0.7, (1,), np.float32), [0.7]),
    "integers": (FLOATS, PAIR),
    "float16": (FLOATS, np.zeros(2, np.float16)),
    "infinite bounds": (WIDE, np.array([-1e38, 1e38])),
    "a large sum": (WIDE, np.full(2, 3e38)),
    "a view": (spaces.Box(-1, 1, (2, 3), np.float32), np.zeros((3, 2), np.float32).T),
    "small integers": (BYTES, np.full((2, 2), 255)),
    "booleans": (BITS, [True, False]),
    "scalar": (spaces.Box(-1, 1, (), np.float32), 0.5),
    "int": (THREE, 4),
    "numpy integer": (THREE, np.int8(2)),
    "array without axes": (THREE, np.array(2)),
    "binary": (spaces.MultiBinary(2), [0, 1]),
    "binary floats": (spaces.MultiBinary(2), np.array([0.0, 1.0])),
    "binary booleans": (spaces.MultiBinary(2), np.array([False, True])),
    "small floats": (HALF, np.array([-65504, 65504], np.float16)),
    "composite": (BOTH, {"b": [[0, 0], [1, 2]], "a": 2}),
    "other": (spaces.Text(3), "abc"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_an_array_of_the_space_holds_passes(name):
    with warnings.catch_warnings(action="error"):
        play(Gives(*RIGHT[name]))


NAN, INF = float("nan"), float("inf")
WRONG = {
    "floats in bytes": (BYTES, np.full((2, 2), 0.5), "has numbers of float64, which uint8 cannot hold"),
    "float in discrete": (THREE, 2.0, "cannot hold"),
    "beyond bytes": (BYTES, np.full((2, 2), 256), "has 256, which is out of bounds"),
    "below bytes": (BYTES, np.full((2, 2), -1), "has -1, which is out of bounds"),
    "beyond bits": (BITS, np.array([0, 2]), "has 2, which is out of bounds"),
    "beyond discrete": (THREE, 5, "has 5, which is out of bounds; observation_space is Discrete(3, start=2)"),
    "below discrete": (THREE, 1, "has 1, which is out of bounds"),
    "discrete array": (THREE, np.array([2]), "has the shape (1,)"),
    "nan": (FLOATS, np.array([0, NAN], np.float32), "has nan, which is not finite"),
    "infinite": (WIDE, np.array([0, INF]), "has inf, which is not finite"),
    "minus infinite": (WIDE, [-INF, INF], "has -inf, which is not finite"),
    "beyond float32": (WIDE, np.array([0, 1e39]), "has 1e+39, which is out of bounds"),
    "beyond float16": (HALF, np.array([0, 1e5], np.float32), "has 100000.0, which is out of bounds"),
    "between bits": (spaces.MultiBinary(2), [0, 0.5], "has 0.5, which is out of bounds"),
    "no bit": (spaces.MultiBinary(2), [0, NAN], "has nan, which is not finite"),
    "shape": (FLOATS, np.zeros((1, 2), np.float32), "has the shape (1, 2)"),
    "scalar for array": (FLOATS, 0.5, "has the shape ()"),
    "ragged": (FLOATS, [0, [1]], "should be an array of numbers"),
    "text": (FLOATS, ["a", "b"], "should be an array of numbers"),
    "complex": (FLOATS, [1j, 0], "should be an array of numbers"),
    "none": (FLOATS, None, "the observation None should be an array of numbers"),
    "escape": (FLOATS, type("X", (), {"__repr__": lambda _: "\x1b[2J"})(), r"observation \x1b[2J should"),
    "keys": (BOTH, {"a": 2}, "should be a dict of ['a', 'b']"),
    "length": (BOTH, {"a": 2, "b": ([0, 0],)}, "['b'] should be a tuple of 2"),
    "part": (BOTH, {"a": 2, "b": ([0, 0], [0, 3])}, "['b'] [1] has 3, which is out of bounds"),
    "other": (spaces.Text(3), 3, "should be in its space"),
}


@pytest.mark.parametrize("late", [0, 3], ids=["reset", "late"])
@pytest.mark.parametrize("name", WRONG)
def test_what_numpy_would_change_is_refused(name, late):
    space, obs, text = WRONG[name]
    with pytest.raises(EnvFailed) as error, warnings.catch_warnings(action="error"):
        play(Gives(space, obs, late=late))
    when = "in step 3 of its episode 1" if late else "at reset"
    assert str(error.value).startswith(f"env.id=Gives-v0 failed {when}: the observation ")
    assert text in str(error.value)
    assert str(error.value).endswith(f"; observation_space is {space}")


def test_only_the_first_floats_have_to_be_within_bounds():
    """Learning does not need it, and a run should not end by it after hours."""
    obs = np.array([0, 2], np.float32)
    play(Gives(FLOATS, obs, late=2))
    with pytest.raises(EnvFailed, match=r"step 2 of its episode 1: .* has 2.0, which is out of bounds"):
        play(Gives(FLOATS, obs, late=2), full_steps=2)


REWARDS = [1, True, np.float16(1), np.array(1.0), 3e38]
WRONG_REWARDS = [NAN, INF, np.float32(NAN), 1e39, None, "1", 1j, np.array([1.0]), [1, [2]]]
BOOLS = [True, np.False_, 0, np.array(True)]
WRONG_BOOLS = [None, 2, "", np.array([True]), NAN]


def test_rewards_and_ends():
    for reward in REWARDS:
        play(Gives(FLOATS, [0, 0], reward, False, False))
    for reward in WRONG_REWARDS:
        with pytest.raises(
            EnvFailed, match=r"step 1 .*: the reward .* should be one finite number of at most 3\.4e\+38$"
        ):
            play(Gives(FLOATS, [0, 0], reward, False, False))
    for value in BOOLS:
        play(Gives(FLOATS, [0, 0], 1.0, value, value))
    for value in WRONG_BOOLS:
        for name, ends in {"terminated": (value, False), "truncated": (False, value)}.items():
            with pytest.raises(EnvFailed, match=f"the {name} .* should be True or False"):
                play(Gives(FLOATS, [0, 0], 1.0, *ends))


def test_a_large_observation_is_cut():
    space = spaces.Box(np.arange(900, dtype=np.float32), np.full(900, 1000, np.float32))
    with pytest.raises(EnvFailed) as error:
        play(Gives(space, np.zeros((30, 30))))
    assert len(str(error.value)) < 500
    assert str(error.value).isprintable()


def test_a_large_array_in_an_error_is_cut(caplog):
    with pytest.raises(EnvFailed) as error:
        play(Gives(FLOATS, [0, 0], raises=AssertionError(np.arange(900))))
    assert "0 1 2 3" in str(error.value)
    assert len(str(error.value)) < 600
    assert len(caplog.text) < 4000


ERRORS = [
    (FileNotFoundError(2, "No such file", "prices\x1b.csv"), r"FileNotFoundError: [Errno 2] No such file: "),
    (SystemExit(0), "SystemExit: 0"),
    (MemoryError(), "MemoryError"),
    (RuntimeError("two\nlines"), "RuntimeError: two lines"),
    (RuntimeError("\x1b[2J"), r"RuntimeError: \x1b[2J"),
    (type("Odd", (Exception,), {"__str__": lambda _: 1 / 0})(), "Odd"),
]


@pytest.mark.parametrize(("raised", "text"), ERRORS, ids=[text for _, text in ERRORS])
def test_errors_of_an_environment_are_its_own(raised, text, caplog):
    for late, when in ((0, "at reset"), (2, "in step 2 of its episode 1")):
        with pytest.raises(EnvFailed) as error:
            play(Gives(FLOATS, [0, 0], late=late, raises=raised))
        assert str(error.value).startswith(f"env.id=Gives-v0 failed {when}: {text}")
        assert str(error.value).isprintable()
        assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
        logged = caplog.records[-1].getMessage()
        assert "in fail\n" in logged, "the last lines of its traceback"
        assert logged.replace("\n", "").isprintable()


def test_results_of_another_form_are_named():
    """As those of the older package, gym."""
    form = (
        "should be a tuple of observation, reward, terminated, truncated, info, as environments of Gymnasium"
    )
    with pytest.raises(EnvFailed, match=f"step 1 .*: what its step gave {form} give it; it is .*1.0, False"):
        play(Gives(FLOATS, [0, 0], 1.0, False))
    old = Gives(FLOATS, [0, 0])
    for given in (np.zeros(2), None, ([0, 0], {}, 1)):
        old.reset = lambda given=given, **_: given  # type: ignore[method-assign]
        with pytest.raises(EnvFailed, match="failed at reset: what its reset gave should be a tuple of obs"):
            play(old)


def test_ctrl_c_and_the_exit_of_a_signal_handler_pass():
    for raised in (KeyboardInterrupt(), SystemExit(3)):

        def handle(*_: Any, raised: BaseException = raised) -> None:
            raise raised

        class Slow(Gives):
            def step(self, action: Any) -> Any:
                signal.raise_signal(signal.SIGUSR2)

        before = signal.signal(signal.SIGUSR2, handle)
        try:
            with pytest.raises(type(raised)):
                play(Slow(FLOATS, [0, 0]))
        finally:
            signal.signal(signal.SIGUSR2, before)


def test_drawing_and_closing(caplog):
    for raised, text in ((OSError("no font"), "OSError: no font"), (SystemExit(0), "SystemExit: 0")):
        guard = Guard(Gives(FLOATS, [0, 0], raises=raised), id="Gives-v0")
        with pytest.raises(EnvFailed, match=text):
            guard.render()
        with caplog.at_level(logging.WARNING):
            guard.close()
        assert caplog.messages[-1] == f"warning: env.id=Gives-v0 could not be closed ({text})"
    missing = gymnasium.error.DependencyNotInstalled("pip install it")
    with pytest.raises(type(missing)):
        Guard(Gives(FLOATS, [0, 0], raises=missing), id="Gives-v0").render()
