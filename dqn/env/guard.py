"""A guard around one environment: it compares what the environment gives with what its spaces declare."""

import logging
import signal
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from math import inf, isfinite
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.env.masks import MASK, MaskSource, given_mask, mask_problem, valid_action
from dqn.env.spec import bounds, numbers_of
from dqn.errors import EnvFailed, brief, log_traceback, one_line, printable, shorten
from dqn.types import Array

log = logging.getLogger(__name__)

FULL_STEPS = 20
"""Steps of each environment that are compared in full. Gymnasium's LunarLander exceeds its bounds later."""
FEW = 16
"""Numbers of an observation that Python adds as fast as BLAS."""
LARGEST = float(np.finfo(np.float32).max)
"""Greatest number that networks, and memory unless its numbers are float16, can hold."""
ROUNDING = 1e-6
"""Allowed excess over the bounds of floats, absolute and relative."""
LONGEST_CAUSE = 500
"""Characters of an error in the environment's own code, whose traceback is logged."""

UNUSED_MASK = f"; its info has {MASK}: perhaps the action was invalid, which env.action_mask=info avoids"

STEP = ("observation", "reward", "terminated", "truncated", "info")
NUMBER_TYPES = frozenset((float, int, np.float64, np.float32))
INTEGER_TYPES = frozenset((int, np.int64))
BOOL_TYPES = frozenset((bool, np.bool_))

Check = Callable[[Any], str | None]
"""Returns what is wrong with a value, None if nothing is."""


class Guard(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Raises EnvFailed if an environment fails or gives what its spaces exclude.

    NumPy would cast and broadcast that without an error. Resets and the first steps are compared in full;
    later, floats may exceed their bounds, which changes no stored number.

    Args:
        env: the environment with its wrappers.
        id: its name in errors.
        full_steps: number of steps that are compared in full.
        action_mask: where it gives masks, which the guard's infos then have as booleans; None: nowhere.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        id: str,
        full_steps: int = FULL_STEPS,
        action_mask: MaskSource | None = None,
    ) -> None:
        super().__init__(env)
        self._id, self._full_steps, self._source = id, full_steps, action_mask
        self._first = comparison(env.observation_space, exact_bounds=True)
        self._later = comparison(env.observation_space, exact_bounds=False)
        self._steps = 0  # of all episodes
        self._steps_before = 0  # the latest reset
        self._episodes = 0
        self._has_unused_mask = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        self._steps_before = self._steps
        self._episodes += 1
        try:
            given = self.env.reset(seed=seed, options=options)
        except BaseException as error:
            raise self._failure(error) from None
        if type(given) is not tuple or len(given) != 2:  # an array of 2 could be unpacked, too
            raise self._other_form("reset", given, ("observation", "info"))
        obs, info = given
        self._has_unused_mask = self._source is None and given_mask("info", obs, info) is not None
        if problem := self._first(obs):
            raise self._wrong("observation", obs, problem)
        return obs, info if self._source is None else self._with_mask(self._source, obs, info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._steps += 1
        given: Any
        try:
            given = self.env.step(action)
        except BaseException as error:
            raise self._failure(error) from None
        try:
            obs, reward, terminated, truncated, info = given
        except (TypeError, ValueError):
            raise self._other_form("step", given, STEP) from None
        if problem := (self._later if self._steps > self._full_steps else self._first)(obs):
            raise self._wrong("observation", obs, problem)
        if not ((type(reward) in NUMBER_TYPES and -LARGEST <= reward <= LARGEST) or is_number(reward)):
            raise self._wrong("reward", reward, f"should be one finite number of at most {LARGEST:.2g}")
        if not (type(terminated) in BOOL_TYPES and type(truncated) in BOOL_TYPES):
            for name, value in (("terminated", terminated), ("truncated", truncated)):
                if not is_bool(value):
                    raise self._wrong(name, value, "should be True or False")
        if self._source is not None:
            info = self._with_mask(self._source, obs, info, is_last=bool(terminated))
        return obs, reward, terminated, truncated, info

    def render(self) -> Any:
        try:
            return self.env.render()
        except (NotImplementedError, gymnasium.error.DependencyNotInstalled):  # the camera explains them
            raise
        except BaseException as error:
            raise self._failure(error) from None

    def close(self) -> None:
        close(self.env, self._id)

    def _with_mask(self, source: MaskSource, obs: Any, info: Any, *, is_last: bool = False) -> dict[str, Any]:
        """Return an info with the checked mask; in a last state, which has no value, all may be valid."""
        actions: Any = self.env.action_space
        count, mask = int(actions.n), given_mask(source, obs, info)
        rest = info if isinstance(info, Mapping) else {}
        if is_last and (mask is None or not np.any(mask)):
            return {**rest, MASK: np.ones(count, np.bool_)}
        if mask is None:
            raise self._failed(f"its info has no {MASK}, which env.action_mask={source} needs at every step")
        if problem := mask_problem(mask, count):
            raise self._wrong(MASK, mask, problem)
        return {**rest, MASK: np.array(mask, np.bool_)}

    def _other_form(self, what: str, given: Any, names: tuple[str, ...]) -> EnvFailed:
        should = f"should be a tuple of {', '.join(names)}, as environments of Gymnasium give it"
        return self._failed(f"what its {what} gave {should}; it is {brief(given)}")

    def _failure(self, error: BaseException) -> BaseException:
        """Return the error to raise for one of the environment, whose traceback is logged."""
        if isinstance(error, KeyboardInterrupt) or from_signal_handler(error):
            return error
        log_traceback(error)
        hint = UNUSED_MASK if self._has_unused_mask and self._steps > self._steps_before else ""
        return self._failed(shorten(one_line(error), LONGEST_CAUSE) + hint)

    def _wrong(self, name: str, value: Any, problem: str) -> EnvFailed:
        declared = f"; observation_space is {brief(self.env.observation_space)}"
        return self._failed(f"the {name} {brief(value)} {problem}{declared if name == 'observation' else ''}")

    def _failed(self, problem: str) -> EnvFailed:
        steps = self._steps - self._steps_before
        when = f"in step {steps} of its episode {self._episodes}" if steps else "at reset"
        return EnvFailed(f"env.id={self._id} failed {when}: {problem}")


def close(env: gymnasium.Env[Any, Any], id: str) -> None:
    """Close an environment; an error is only logged, because all results are there."""
    try:
        env.close()
    except (Exception, SystemExit) as error:
        if from_signal_handler(error):
            raise
        log.warning("warning: env.id=%s could not be closed (%s)", printable(id), one_line(error))


def from_signal_handler(error: BaseException) -> bool:
    """Return whether a signal handler raised the error, as Slurm's does: no part of this process failed."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {getattr(getattr(handler, "__func__", handler), "__code__", None) for handler in handlers}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def is_number(value: Any) -> bool:
    number = numbers_of(value)
    return number is not None and number.ndim == 0 and abs(float(number)) <= LARGEST


def is_bool(value: Any) -> bool:
    number = numbers_of(value)
    return number is not None and number.ndim == 0 and number in (0, 1)


def comparison(space: spaces.Space[Any], *, exact_bounds: bool) -> Check:
    """Return a function that compares a value with a space.

    Args:
        space: the declared space.
        exact_bounds: compare floats with their bounds; if not, with what memory can hold.
    """
    compare = partial(comparison, exact_bounds=exact_bounds)
    if isinstance(space, spaces.Dict):
        return partial(dict_problem, {key: compare(part) for key, part in space.items()})
    if isinstance(space, spaces.Tuple):
        return partial(tuple_problem, [compare(part) for part in space])
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete):
        return Numbers(space, exact_bounds=exact_bounds)
    return lambda value: None if space.contains(value) else "should be in its space"


def dict_problem(checks: Mapping[str, Check], value: Any) -> str | None:
    if not isinstance(value, Mapping) or value.keys() != checks.keys():
        return f"should be a dict of {list(checks)}"
    problems = ((key, check(value[key])) for key, check in checks.items())
    return next((f"[{key!r}] {problem}" for key, problem in problems if problem), None)


def tuple_problem(checks: list[Check], value: Any) -> str | None:
    if not isinstance(value, tuple | list) or len(value) != len(checks):
        return f"should be a tuple of {len(checks)}"
    problems = ((i, check(value[i])) for i, check in enumerate(checks))
    return next((f"[{i}] {problem}" for i, problem in problems if problem), None)


class Numbers:
    """Compares a value with a Box, Discrete, MultiBinary or MultiDiscrete space.

    Called with a value, it returns what is wrong with it; None if an array of the space can hold it exactly,
    up to the rounding of floats.
    """

    def __init__(self, space: spaces.Space[Any], *, exact_bounds: bool) -> None:
        assert space.dtype is not None
        self.shape, self.dtype = space.shape or (), space.dtype
        self.is_float = space.dtype.kind == "f"
        self.low, self.high = bounds(space)
        if self.is_float:
            low, high = np.float64(self.low), np.float64(self.high)
            most = min(LARGEST, float(np.finfo(space.dtype).max))
            largest = np.full_like(low, most)  # a Python float would become a float16 beside such an array
            self.low = np.maximum(low - ROUNDING * (1 + abs(low)), -largest) if exact_bounds else -largest
            self.high = np.minimum(high + ROUNDING * (1 + abs(high)), largest) if exact_bounds else largest
        self.is_binary = isinstance(space, spaces.MultiBinary)
        self.may_trust = not exact_bounds and isinstance(space, spaces.Box) and space.dtype != np.float16
        self.trusted: np.dtype[Any] | None = None
        self.total: Callable[[Array], float]
        """Maps arrays of the trusted dtype to a number that is finite only if the array is right."""

    def __call__(self, value: Any) -> str | None:
        if type(value) is np.ndarray:
            if value.dtype is self.trusted and value.shape == self.shape and isfinite(self.total(value)):
                return None
        elif type(value) in INTEGER_TYPES and not self.shape and self.low <= value <= self.high:
            return None
        array = numbers_of(value)
        if array is None:
            return "should be an array of numbers"
        problem = self.problem(array)
        if problem is None and self.may_trust:
            self.trust(array)
        return problem

    def trust(self, array: Array) -> None:
        """Check later arrays of this dtype by a single operation, which is several times faster."""
        dtype = array.dtype
        if dtype == np.float32:
            dot = np.ones(array.size, dtype).dot
            is_small = array.ndim == 1 and array.size <= FEW  # the call of BLAS would cost more than the sum
            total = (lambda x: sum(x.tolist())) if is_small else (lambda x: dot(x.ravel()))
            self.trusted, self.total = dtype, total
        elif dtype == np.float64:
            limit = LARGEST**2
            self.trusted, self.total = dtype, lambda x: 0.0 if np.vdot(x, x) <= limit else inf
        elif dtype == self.dtype == np.uint8:
            self.trusted, self.total = dtype, lambda x: 0.0

    def problem(self, array: Array) -> str | None:
        if array.shape != self.shape:
            return f"has the shape {array.shape}"
        if array.dtype.kind == "f" and not (self.is_float or self.is_binary):
            return f"has numbers of {array.dtype}, which {self.dtype} cannot hold"
        wrong = ~((array >= self.low) & (array <= self.high))  # so NaN is wrong
        if self.is_binary:  # Gymnasium's spaces of this kind allow floats
            wrong |= (array != 0) & (array != 1)
        if not wrong.any():
            return None
        worst = array[wrong][0]
        return f"has {worst}, which is {'out of bounds' if np.isfinite(worst) else 'not finite'}"


def try_one_step(env: gymnasium.Env[Any, Any], action_mask: MaskSource | None) -> None:
    """Reset and step an environment; raise ValueError if an observation is not in its space."""
    obs, info = env.reset(seed=0)
    env.action_space.seed(0)
    action = env.action_space.sample()
    if action_mask is not None and isinstance(env.action_space, spaces.Discrete):
        mask = given_mask(action_mask, obs, info)
        action = env.action_space.start + valid_action(mask, int(action - env.action_space.start))
    next_obs, *_ = env.step(int(action) if isinstance(env.action_space, spaces.Discrete) else action)
    compare = comparison(env.observation_space, exact_bounds=True)
    for one in (obs, next_obs):
        if problem := compare(one):
            raise ValueError(f"an observation {problem}, observation_space is {brief(env.observation_space)}")
