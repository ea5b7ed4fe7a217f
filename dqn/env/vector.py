"""Environments of all seeds as arrays [K, E, ...]: separately seeded and remade in every iteration."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import copy
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from dqn.env.make import Env, EnvFactory, Wrapper, life_lost, process_settings
from dqn.env.masks import MASK, MaskSource
from dqn.env.processes import AsyncColumns
from dqn.env.spec import Channels
from dqn.errors import WrongValue
from dqn.seeding import integer
from dqn.types import Array, Bools, EnvSpec, Floats, Integers, Positive, PositiveInt


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
    life_lost: Bools
    """A life was lost, which terminates what is learned; False everywhere unless `life_loss_is_terminal`."""
    next_mask: Bools | None
    """Valid actions at next_obs [K, E, A]; None if all always are."""


class SyncColumns:
    """Environments stepped one after another; an environment's action is an int.

    Gymnasium's SyncVectorEnv also checks, stacks and copies at every step, which takes longer than CartPole.

    Args:
        make: makes an environment.
        count: number of environments.
        spec: their observations and actions.
        id: name of the environment in errors.

    Raises:
        WrongValue: `make` gave the same environment twice.
    """

    def __init__(self, make: Callable[[], Env], count: int, spec: EnvSpec, *, id: str) -> None:
        self._obs: Array = np.zeros((count, *spec.obs.shape), spec.obs.dtype)
        self.mask: Bools | None = np.ones((count, spec.num_actions), np.bool_) if spec.has_mask else None
        """The valid actions of each environment [count, A]; None if all always are."""
        self._envs: list[Env] = []
        try:
            for _ in range(count):
                self._envs.append(make())
            if len({object.__hash__(env.unwrapped) for env in self._envs}) < count:  # by identity
                raise WrongValue("env.id", id, "should make a new environment in every call")
        except BaseException:
            self.close()
            raise
        self._awake = dict(enumerate(self._envs))
        self.infos: list[Any] = [{} for _ in self._envs]
        """The info of each environment's latest step."""

    def reset(self, where: Bools, seeds: Sequence[int] | None = None) -> Array:
        """Start an episode in the environments `where`; return the observations of all."""
        for i in np.flatnonzero(where).tolist():
            self._awake[i] = self._envs[i]
            self.infos[i] = copy(self.infos[i])  # the environment may use the same dict again
            self._obs[i], info = self._envs[i].reset(seed=seeds[i] if seeds else None)
            if self.mask is not None:
                self.mask[i] = info[MASK]
        return self._obs

    def pause(self, where: Bools) -> None:
        """Make the environments in `where` repeat their last observation until they are reset."""
        for i in np.flatnonzero(where).tolist():
            self._awake.pop(i, None)

    def step(self, actions: Integers) -> tuple[Array, Floats, Bools, Bools]:
        """Return the observations, rewards and ends of all environments."""
        count = len(self._envs)
        reward, terminated, truncated = np.zeros(count), np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        action = actions.tolist()
        for i, env in self._awake.items():
            self._obs[i], reward[i], terminated[i], truncated[i], self.infos[i] = env.step(action[i])
        if self.mask is not None:
            for i in self._awake:
                self.mask[i] = self.infos[i][MASK]
        return self._obs, reward, terminated, truncated

    def lives_lost(self) -> Bools:
        """Return where the latest step cost a life."""
        return np.array([i in self._awake and life_lost(info) for i, info in enumerate(self.infos)])

    def close(self) -> None:
        with ExitStack() as stack:
            for env in self._envs:
                stack.callback(env.close)


class Environments:
    """E environments for each of K seeds, stepped together.

    An environment whose episode ended is not reset by itself, so `step` returns its true last observation.

    Args:
        game: the game, where an option of `env` makes `id` of it by interpolation; None: there is none.
        id: a registered id, "package:id", or "module:NAME" of a class or function.
        module: a package to import first, which registers the id; None: no package.
        kwargs: the arguments of gymnasium.make.
        max_episode_steps: steps after which an episode is truncated; None: as registered.
        wrappers: wrap every environment, as in EnvFactory.
        training_wrappers: further wrappers around these if `training` is set.
        scale_bytes: whether the network reads bytes divided by 255, as in EnvFactory.
        frame_stack: successive observations that the network reads together.
        channels: where images have their channels, as in EnvFactory.
        action_mask: where the environment gives masks of the valid actions, as in EnvFactory.
        num_envs: environments per seed, E.
        vectorization: "sync" steps them one after another, "async" in one process each.
        reward_scale: factor of the rewards used for learning.
        reward_clip: before that, rewards are clipped to [-reward_clip, reward_clip]; None: they are not.
        time_limit_is_terminal: a truncation counts as a termination. Pardo et al. (2018).
        life_loss_is_terminal: what is learned terminates where a step's info["life_lost"] is true. Mnih et
            al. (2015).
        seeds: the K seeds.
        role: names the random stream that seeds the environments.
        training: adds the training wrappers.
    """

    def __init__(
        self,
        *,
        game: str | None,
        id: str,
        module: str | None,
        kwargs: dict[str, Any],
        max_episode_steps: PositiveInt | None,
        wrappers: Sequence[Wrapper],
        training_wrappers: Sequence[Wrapper],
        scale_bytes: bool,
        frame_stack: PositiveInt,
        channels: Channels,
        action_mask: MaskSource | None,
        num_envs: PositiveInt,
        vectorization: Literal["sync", "async"],
        reward_scale: Positive,
        reward_clip: Positive | None,
        time_limit_is_terminal: bool,
        life_loss_is_terminal: bool,
        seeds: Sequence[int],
        role: str,
        training: bool,
    ) -> None:
        factory = EnvFactory(
            game=game,
            id=id,
            module=module,
            kwargs=kwargs,
            max_episode_steps=max_episode_steps,
            wrappers=wrappers,
            training_wrappers=training_wrappers,
            scale_bytes=scale_bytes,
            frame_stack=frame_stack,
            channels=channels,
            action_mask=action_mask,
            reward_scale=reward_scale,
            reward_clip=reward_clip,
        )
        self.spec, self._learned_reward = factory.spec, factory.learned_reward
        self.num_envs = num_envs
        self._make = partial(factory.make, training=training)
        self._id, self._vectorization = id, vectorization
        self.need_infos = False
        """Whether `info` is used: environments in processes then send it at the end of each episode."""
        self._time_limit_is_terminal, self._life_loss_is_terminal = (
            time_limit_is_terminal,
            life_loss_is_terminal,
        )
        self._seeds, self._role = seeds, role
        self._num_envs_key = "env.num_envs" if training else "runner.eval_num_envs"
        self._shape = (len(seeds), num_envs)
        self._obs_shape = (*self._shape, *self.spec.obs.shape)
        self._no_life_lost = np.zeros(self._shape, np.bool_)
        self._vector: Any = None

    def reset(self, iteration: int) -> Array:
        """Make new environments, seeded for `iteration`, and return their first observations."""
        self.close()
        envs = range(self.num_envs)
        seeds = [integer(seed, self._role, iteration, env) for seed in self._seeds for env in envs]
        try:
            with process_settings():
                self._vector = self.columns(len(seeds), infos=self.need_infos)
                obs = self._vector.reset(np.ones(len(seeds), np.bool_), seeds)
        except WrongValue as error:
            if len(seeds) == 1:
                raise
            advice = f"{len(seeds)} at a time; one at a time with num_seeds=1 {self._num_envs_key}=1"
            raise WrongValue(error.key, error.value, f"{error.should}: {advice}") from None
        return self._obs(obs)

    def columns(self, count: int, *, infos: bool) -> SyncColumns | AsyncColumns:
        """Return new environments, not yet reset, whose arrays have one axis for all.

        With `infos`, environments in processes send some of theirs, as AsyncColumns has them.
        """
        if self._vectorization == "sync":
            return SyncColumns(self._make, count, self.spec, id=self._id)
        return AsyncColumns(self._make, count, self.spec, id=self._id, infos=infos)

    def step(self, action: Integers) -> Step:
        """Step every environment that is not paused with its action [K, E]."""
        obs, raw, terminated, truncated = self._vector.step(action.ravel())
        shape = self._shape
        raw = raw.reshape(shape)
        terminated, truncated = terminated.reshape(shape), truncated.reshape(shape)
        ended = terminated | truncated
        if self._time_limit_is_terminal:
            terminated = ended
        life_lost = self._no_life_lost
        if self._life_loss_is_terminal:
            life_lost = self._vector.lives_lost().reshape(shape)
        next_obs, truncated = self._obs(obs), ended > terminated
        return Step(
            next_obs, raw, self._learned_reward(raw), terminated, truncated, ended, life_lost, self.mask
        )

    @property
    def mask(self) -> Bools | None:
        """Return the present valid actions as a new array [K, E, A]; None if all always are."""
        mask: Bools | None = self._vector.mask
        return None if mask is None else mask.reshape(*self._shape, -1).copy()

    def info(self, seed_index: int, env_index: int) -> Any:
        """Return the info that an environment gave with the last step of its latest episode."""
        return self._vector.infos[seed_index * self.num_envs + env_index]

    def restart(self, where: Bools) -> Array:
        """Start a new episode in the environments `where` [K, E]; return the observations of all."""
        return self._obs(self._vector.reset(where.ravel()))

    def pause(self, where: Bools) -> None:
        """Pause the environments `where` [K, E], whose episodes ended, until they are restarted."""
        self._vector.pause(where.ravel())

    def _obs(self, obs: Array) -> Array:
        """Return a copy as [K, E, ...]."""
        return obs.reshape(self._obs_shape).copy()

    def close(self) -> None:
        if self._vector is not None:
            self._vector.close()
            self._vector = None
