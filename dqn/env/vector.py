"""Environments of all seeds as arrays [K, E, ...]: separately seeded and remade in every iteration."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from dqn.env.make import Env, EnvFactory, Wrapper
from dqn.seeding import integer
from dqn.types import Array, Bools, Floats, Integers, Positive, PositiveInt


class Step(NamedTuple):
    """The results of one step of all environments, [K, E, ...]."""

    next_obs: Array
    raw_reward: Floats
    reward: Floats
    """Reward used for learning: clipped, then scaled."""
    terminated: Bools
    truncated: Bools
    ended: Bools
    """Terminated or truncated."""


class Pausable(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that repeats its last observation while `paused` is set; a reset clears it."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self.paused = False
        self._last: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        self.paused = False
        return self.env.reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self.paused:
            return self._last, 0.0, False, False, {}
        self._last, reward, terminated, truncated, _ = self.env.step(action)
        return self._last, reward, terminated, truncated, {}


class AsyncColumns(AsyncVectorEnv):
    """Environments in one process each, which can be paused."""

    def __init__(self, makers: Sequence[Callable[[], Env]]) -> None:
        makers = [partial(make_in_worker, make) for make in makers]
        super().__init__(makers, copy=False, autoreset_mode=AutoresetMode.DISABLED)
        self._paused = np.zeros(len(makers), np.bool_)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        self._paused &= ~(options or {}).get("reset_mask", np.True_)
        return super().reset(seed=seed, options=options)

    def pause(self, mask: Bools) -> None:
        """Make the environments in `mask` repeat their last observation until they are reset."""
        self._paused |= mask
        self.set_attr("paused", self._paused.tolist())


class SyncColumns:
    """Environments stepped one after another, with the interface of AsyncColumns.

    Gymnasium's SyncVectorEnv also checks, stacks and copies at every step, which takes longer than CartPole.
    """

    def __init__(self, makers: Sequence[Callable[[], Env]]) -> None:
        self._envs = [make() for make in makers]
        space = self._envs[0].observation_space
        self._obs = np.zeros((len(makers), *(space.shape or ())), space.dtype)
        self._awake = dict(enumerate(self._envs))

    def reset(
        self, *, seed: Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        mask = (options or {}).get("reset_mask", np.ones(len(self._envs), np.bool_))
        for i in np.flatnonzero(mask).tolist():
            self._awake[i] = self._envs[i]
            self._obs[i], _ = self._envs[i].reset(seed=seed[i] if seed else None)
        return self._obs, {}

    def pause(self, mask: Bools) -> None:
        """Make the environments in `mask` repeat their last observation until they are reset."""
        for i in np.flatnonzero(mask).tolist():
            self._awake.pop(i, None)

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

    An environment whose episode ended is not reset by itself, so `step` returns its true last observation.

    Args:
        id: a registered id, or "package:id".
        module: a package to import first, which registers the id; None: no package.
        kwargs: the arguments of gymnasium.make.
        wrappers: wrap every environment, as in EnvFactory.
        training_wrappers: further wrappers around these if `training` is set.
        scale_bytes: whether the network reads bytes divided by 255, as in EnvFactory.
        num_envs: environments per seed, E.
        vectorization: "sync" steps them one after another, "async" in one process each.
        reward_scale: factor of the rewards used for learning.
        reward_clip: before that, rewards are clipped to [-reward_clip, reward_clip]; None: they are not.
        time_limit_is_terminal: a truncation counts as a termination. Pardo et al. (2018).
        seeds: the K seeds.
        role: names the random stream that seeds the environments.
        training: adds the training wrappers.
    """

    def __init__(
        self,
        *,
        id: str,
        module: str | None,
        kwargs: dict[str, Any],
        wrappers: Sequence[Wrapper],
        training_wrappers: Sequence[Wrapper],
        scale_bytes: bool,
        num_envs: PositiveInt,
        vectorization: Literal["sync", "async"],
        reward_scale: Positive,
        reward_clip: Positive | None,
        time_limit_is_terminal: bool,
        seeds: Sequence[int],
        role: str,
        training: bool,
    ) -> None:
        factory = EnvFactory(
            id=id,
            module=module,
            kwargs=kwargs,
            wrappers=wrappers,
            training_wrappers=training_wrappers,
            scale_bytes=scale_bytes,
        )
        self.spec = factory.spec
        self.num_envs = num_envs
        self._make = partial(factory.make, training=training)
        self._vectorize: Callable[..., Any] = {"sync": SyncColumns, "async": AsyncColumns}[vectorization]
        self._reward_scale, self._reward_clip = reward_scale, reward_clip
        self._time_limit_is_terminal = time_limit_is_terminal
        self._seeds, self._role = seeds, role
        self._shape = (len(seeds), num_envs)
        self._obs_shape = (*self._shape, *self.spec.obs.shape)
        self._vector: Any = None

    def reset(self, iteration: int) -> Array:
        """Make new environments, seeded for `iteration`, and return their first observations."""
        self.close()
        count = len(self._seeds) * self.num_envs
        self._vector = self._vectorize([self._make] * count)
        envs = range(self.num_envs)
        seeds = [integer(seed, self._role, iteration, env) for seed in self._seeds for env in envs]
        obs, _ = self._vector.reset(seed=seeds)
        return self._obs(obs)

    def step(self, action: Integers) -> Step:
        """Step every environment that is not paused with its action [K, E]."""
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
        """Start a new episode in the environments `where` [K, E]; return the observations of all."""
        obs, _ = self._vector.reset(options={"reset_mask": where.ravel()})
        return self._obs(obs)

    def pause(self, where: Bools) -> None:
        """Pause the environments `where` [K, E], whose episodes ended, until they are restarted."""
        self._vector.pause(where.ravel())

    def _obs(self, obs: Array) -> Array:
        """Return a copy with the shape and the dtype of the spec."""
        return obs.reshape(self._obs_shape).astype(self.spec.obs.dtype)

    def close(self) -> None:
        if self._vector is not None:
            self._vector.close()
            self._vector = None


def make_in_worker(make: Callable[[], Env]) -> Pausable:
    """Make an environment in a worker process, which ignores Ctrl-C: the run stops its workers."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return Pausable(make())
