"""Environments of all seeds as arrays [K, E, ...], each seeded for itself, made anew in every iteration."""

import importlib
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.wrappers import OrderEnforcing

from dqn.errors import UserError
from dqn.seeding import integer
from dqn.types import Array, Bools, EnvSpec, Floats, Integers, ObsSpec, Positive, PositiveInt

EXTRAS = {"box2d": "box2d"}
"""Which extra of this package brings what an environment's module needs."""


class Step(NamedTuple):
    """What one step of all environments gave, [K, E, ...]."""

    next_obs: Array
    raw_reward: Floats
    reward: Floats
    """As learning sees it: clipped, then scaled."""
    terminated: Bools
    truncated: Bools
    ended: Bools
    """Terminated or truncated."""


class Pausable(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment in a process of its own that can wait for others: it repeats its last observation.

    `reset(options={"pause": True})` pauses it, any other reset wakes it.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._paused = False
        self._last: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        self._paused = bool(options and options.get("pause"))
        if self._paused:
            return self._last, {}
        return self.env.reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._paused:
            return self._last, 0.0, False, False, {}
        self._last, reward, terminated, truncated, _ = self.env.step(action)
        return self._last, reward, terminated, truncated, {}


class SyncColumns:
    """Environments stepped in turn, with the interface of Gymnasium's AsyncVectorEnv of Pausable ones.

    Gymnasium's SyncVectorEnv checks, stacks and copies at every step; that costs more than CartPole.
    """

    def __init__(self, makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]]) -> None:
        self._envs = [make() for make in makers]
        space = self._envs[0].observation_space
        self._obs = np.zeros((len(makers), *(space.shape or ())), space.dtype)
        self._awake = dict(enumerate(self._envs))

    def reset(
        self, *, seed: Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        options = options or {}
        mask = options.get("reset_mask", np.ones(len(self._envs), np.bool_))
        for i in np.flatnonzero(mask).tolist():
            if options.get("pause"):
                self._awake.pop(i, None)
            else:
                self._awake[i] = self._envs[i]
                self._obs[i], _ = self._envs[i].reset(seed=seed[i] if seed else None)
        return self._obs, {}

    def step(self, actions: Integers) -> tuple[Array, Floats, Bools, Bools, dict[str, Any]]:
        count = len(self._envs)
        reward, terminated, truncated = np.zeros(count), np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        action = actions.tolist()
        for i, env in self._awake.items():
            self._obs[i], reward[i], terminated[i], truncated[i], _ = env.step(action[i])
        return self._obs, reward, terminated, truncated, {}

    def close(self) -> None:
        for env in self._envs:
            env.close()


class Environments:
    """E environments for each of K seeds, stepped together.

    An ended environment stays as it is until `reset`, so `step` returns the true last observation.

    Args:
        id: a registered id, or "package:id".
        module: a package to import before, which registers the id.
        kwargs: for gymnasium.make.
        num_envs: E.
        vectorization: "sync" steps them in turn, "async" in a process each.
        reward_scale: learning sees reward * reward_scale.
        reward_clip: the raw reward is clipped to [-reward_clip, reward_clip] before; None: not.
        time_limit_is_terminal: a truncation of the environment's counts as termination. Pardo et al. (2018).
        seeds: the K seeds.
        purpose: names the stream that seeds the environments.
    """

    def __init__(
        self,
        *,
        id: str,
        module: str | None,
        kwargs: dict[str, Any],
        num_envs: PositiveInt,
        vectorization: Literal["sync", "async"],
        reward_scale: Positive,
        reward_clip: Positive | None,
        time_limit_is_terminal: bool,
        seeds: Sequence[int],
        purpose: str,
    ) -> None:
        self.spec = inspect(id=id, module=module, kwargs=kwargs)
        self.num_envs = num_envs
        self._make = partial(make_unchecked, id=id, module=module, kwargs=kwargs)
        self._vectorize: Callable[..., Any] = {"sync": SyncColumns, "async": async_columns}[vectorization]
        self._reward_scale, self._reward_clip = reward_scale, reward_clip
        self._time_limit_is_terminal = time_limit_is_terminal
        self._seeds, self._purpose = seeds, purpose
        self._shape = (len(seeds), num_envs)
        self._obs_shape = (*self._shape, *self.spec.obs.shape)
        self._vector: Any = None

    def reset(self, iteration: int) -> Array:
        """Make all environments anew, seeded for `iteration`, and return their first observations."""
        self.close()
        count = len(self._seeds) * self.num_envs
        self._vector = self._vectorize([self._make] * count)
        seeds = [
            integer(seed, self._purpose, iteration, env)
            for seed in self._seeds
            for env in range(self.num_envs)
        ]
        obs, _ = self._vector.reset(seed=seeds)
        return self._obs(obs)

    def step(self, action: Integers) -> Step:
        """Step every environment that is neither ended nor paused by its action [K, E]."""
        obs, raw, terminated, truncated, _ = self._vector.step(action.ravel())
        shape = self._shape
        raw = raw.reshape(shape)
        terminated, truncated = terminated.reshape(shape), truncated.reshape(shape)
        ended = terminated | truncated
        if self._time_limit_is_terminal:
            terminated = ended
        clipped = raw if self._reward_clip is None else raw.clip(-self._reward_clip, self._reward_clip)
        reward = (clipped * self._reward_scale).astype(np.float32)
        return Step(self._obs(obs), raw, reward, terminated, ended > terminated, ended)

    def restart(self, where: Bools) -> Array:
        """Begin a new episode in the environments `where` [K, E]; return all current observations."""
        return self._reset_some(where, {})

    def pause(self, where: Bools) -> Array:
        """Let the ended environments `where` [K, E] wait; return all current observations."""
        return self._reset_some(where, {"pause": True})

    def _reset_some(self, where: Bools, options: dict[str, Any]) -> Array:
        obs, _ = self._vector.reset(options={"reset_mask": where.ravel(), **options})
        return self._obs(obs)

    def _obs(self, obs: Array) -> Array:
        """Return a copy in the shape and type of the spec."""
        return obs.reshape(self._obs_shape).astype(self.spec.obs.dtype)

    def close(self) -> None:
        if self._vector is not None:
            self._vector.close()
            self._vector = None


def async_columns(makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]]) -> AsyncVectorEnv:
    """Return Gymnasium's environments in processes of their own, none reset but by mask."""
    makers = [partial(make_in_worker, make) for make in makers]
    return AsyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.DISABLED)


def make_in_worker(make: Callable[[], gymnasium.Env[Any, Any]]) -> Pausable:
    """Make an environment in its process, which leaves signals to the run: that ends it."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return Pausable(make())


def make(*, id: str, module: str | None, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Return one environment as it is trained on."""
    return adapt(make_registered(id=id, module=module, kwargs=kwargs))


def make_registered(*, id: str, module: str | None, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Return one environment as it is registered."""
    if module is not None:
        importlib.import_module(module)
    return gymnasium.make(id, disable_env_checker=True, **kwargs)


def adapt(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Return an environment with composite observations flattened and discrete spaces counted from 0."""
    space = env.observation_space
    if isinstance(space, spaces.Dict | spaces.Tuple | spaces.MultiDiscrete) and space.is_np_flattenable:
        env = gymnasium.wrappers.FlattenObservation(env)
    if isinstance(space, spaces.Discrete) and space.start != 0:
        first_obs = space.start
        env = gymnasium.wrappers.TransformObservation(
            env, lambda obs: obs - first_obs, spaces.Discrete(int(space.n))
        )
    actions = env.action_space
    if isinstance(actions, spaces.Discrete) and actions.start != 0:
        first_action = actions.start
        env = gymnasium.wrappers.TransformAction(
            env, lambda action: action + first_action, spaces.Discrete(int(actions.n))
        )
    return env


def make_unchecked(*, id: str, module: str | None, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Return an environment without Gymnasium's check that it was reset before it is stepped: here it was."""
    outer = layer = gymnasium.Wrapper(make(id=id, module=module, kwargs=kwargs))
    while isinstance(layer.env, gymnasium.Wrapper):
        if type(layer.env) is OrderEnforcing:
            layer.env = layer.env.env
        else:
            layer = layer.env
    return outer.env


def inspect(*, id: str, module: str | None, kwargs: dict[str, Any]) -> EnvSpec:
    """Return the spec of an environment.

    Raises:
        UserError: it cannot be made, or its spaces are not supported; the text begins with the key.
    """
    env = try_to_make(id=id, module=module, kwargs=kwargs)
    try:
        actions, time_limit = env.action_space, env.spec.max_episode_steps if env.spec else None
        if not isinstance(actions, spaces.Discrete):
            raise UserError(f"env.id={id}: its actions are {actions}; Q-learning needs a Discrete space")
        obs = obs_spec(env.observation_space, id)
        return EnvSpec(obs, int(actions.n), time_limit)
    finally:
        env.close()


def obs_spec(space: spaces.Space[Any], id: str) -> ObsSpec:
    """Return how observations of `space` are stored and read."""
    if isinstance(space, spaces.Discrete):
        return ObsSpec((), np.min_scalar_type(int(space.n) - 1), int(space.n), 1.0)
    if isinstance(space, spaces.MultiBinary):
        return ObsSpec(space.shape or (1,), np.dtype(np.int8), 0, 1.0)
    if not isinstance(space, spaces.Box) or space.dtype is None:
        raise UserError(
            f"env.id={id}: its observations are {space}; supported are Box, Discrete, MultiBinary,"
            " MultiDiscrete, and Dict and Tuple of these"
        )
    scale = 1 / 255 if space.dtype == np.uint8 and space.high.max(initial=0) == 255 else 1.0
    return ObsSpec(space.shape or (1,), stored_dtype(space), 0, scale)


def stored_dtype(space: spaces.Box) -> np.dtype[Any]:
    """Return the space's own type, one byte for zeros and ones, and no more than the network's float32."""
    if (
        np.issubdtype(space.dtype, np.integer)
        and space.low.min(initial=0) == 0
        and space.high.max(initial=1) == 1
    ):
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if space.dtype is None or space.dtype.itemsize > 4 else space.dtype


def try_to_make(*, id: str, module: str | None, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Make an environment; what goes wrong is told as a mistake of the configuration."""
    try:
        return make(id=id, module=module, kwargs=kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        spec = gymnasium.registry.get(id)
        extra = next((e for word, e in EXTRAS.items() if spec and word in str(spec.entry_point)), None)
        command = f'pip install "dqn[{extra}]"' if extra else "install what it names"
        raise UserError(f"env.id={id}: a package is missing ({error}): {command}") from None
    except gymnasium.error.UnregisteredEnv as error:
        raise UserError(f"env.id={id}: should be a registered environment ({error})") from None
    except ModuleNotFoundError as error:
        own = module is not None and f"{module}.".startswith(f"{error.name}.")
        key = f"env.module={module}" if own else f"env.id={id}"
        raise UserError(f"{key}: no such package can be imported ({error})") from None
    except TypeError as error:
        raise UserError(f"env.kwargs={kwargs}: {id} does not take them ({error})") from None
    except Exception as error:
        raise UserError(f"env.id={id}: cannot be made ({type(error).__name__}: {error})") from None
