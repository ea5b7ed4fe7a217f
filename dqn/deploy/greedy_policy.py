"""A trained policy in the terms of its environment: its own observations in, its own actions out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn.agent import Policy
from dqn.env import Env, EnvFactory, adapt
from dqn.types import Array, Floats, Integers

Space = spaces.Space[Any]


class GreedyPolicy:
    """The greedy policy of one seed.

    Args:
        policy: of this seed alone.
        factory: makes the environment that it was trained on.
        seed: which seed of the run.
        iteration: after how many iterations of the run it was stored.
        selected: what to know of a policy that was selected; None of the last.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        factory: EnvFactory,
        seed: int,
        iteration: int,
        selected: str | None,
    ) -> None:
        self.seed, self.iteration, self.selected = seed, iteration, selected
        self._factory = factory
        env = self.make_env()
        self.observation_space: Space = env.observation_space
        self.action_space: Space = env.action_space
        self.policy, self._actor = policy, policy.actor()
        observe: list[gymnasium.ObservationWrapper[Any, Any, Any]] = []
        act: list[gymnasium.ActionWrapper[Any, Any, Any]] = []
        adapted = adapt(env)
        self.obs = factory.spec.obs
        while adapted is not env and isinstance(adapted, gymnasium.Wrapper):
            if isinstance(adapted, gymnasium.ObservationWrapper):
                observe.insert(0, adapted)
            elif isinstance(adapted, gymnasium.ActionWrapper):
                act.append(adapted)
            adapted = adapted.env
        env.close()
        self._observe = observe
        self._actions = np.array([original(number, act) for number in range(policy.num_actions)])

    def make_env(self, **kwargs: Any) -> Env:
        """Return an environment as it was trained on, whose observations and actions are the policy's.

        It has the wrappers of `env.wrappers`, and not those of training alone.

        Args:
            kwargs: further arguments of gymnasium.make, such as render_mode="human"; they replace the run's.
        """
        factory = replace(self._factory, kwargs={**self._factory.kwargs, **kwargs})
        return factory.make_wrapped(training=False)

    def __call__(self, obs: Any) -> int | Integers:
        """Return the action of the highest value: an int for one observation, [B] for a batch.

        Args:
            obs: one observation as the environment gives it, or a batch: an array [B, ...]; of Dict and Tuple
                spaces the parts as arrays [B, ...], or a list of observations.

        Raises:
            ValueError: it is no observation of the environment, nor a batch; its text says what would be.
        """
        rows, is_batch = split(self.observation_space, obs)
        best: Integers = self._actions[self._actor.act(self._read(rows)[np.newaxis])[0]]  # of the one seed
        return best if is_batch else int(best[0])

    def q_values(self, obs: Any) -> Floats:
        """Return the action values, [A] for one observation and [B, A] for a batch, in the actions' order.

        Args:
            obs: as in calls.

        Raises:
            ValueError: as in calls.
        """
        rows, is_batch = split(self.observation_space, obs)
        values: Floats = self.policy.q_values(self._read(rows)[np.newaxis])[0]  # of the one seed
        return values if is_batch else np.asarray(values[0])

    def encode(self, obs: Any) -> Array:
        """Return observations [B, ...] as the network reads them; of one observation, B is 1.

        Args:
            obs: as in calls.

        Raises:
            ValueError: as in calls.
        """
        return self._read(split(self.observation_space, obs)[0])

    def _read(self, rows: Any) -> Array:
        encoded = np.empty((len(rows), *self.obs.shape), self.obs.dtype)
        for i, row in enumerate(rows):
            encoded[i] = observed(row, self._observe)
        return encoded


def observed(obs: Any, wrappers: list[gymnasium.ObservationWrapper[Any, Any, Any]]) -> Any:
    """Return an observation as it is trained on."""
    for wrapper in wrappers:
        obs = wrapper.observation(obs)
    return obs


def original(action: int, wrappers: list[gymnasium.ActionWrapper[Any, Any, Any]]) -> Any:
    """Return the environment's own number of an action that is counted from 0."""
    for wrapper in wrappers:
        action = wrapper.action(action)
    return action


def split(space: Space, obs: Any) -> tuple[Any, bool]:
    """Return the observations of a batch as a sequence, and whether `obs` is one; else that one alone."""
    if isinstance(obs, list) and isinstance(space, spaces.Dict | spaces.Tuple):
        for i, one in enumerate(obs):
            if check(space, one, f"obs[{i}]") is not None:
                raise ValueError(f"obs[{i}] is a batch; in a list it should be one observation")
        return obs, True
    count = check(space, obs, "obs")
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        array = np.asarray(obs)
        return (array[np.newaxis], False) if count is None else (array, True)
    return ([obs], False) if count is None else ([take(space, obs, i) for i in range(count)], True)


def take(space: Space, obs: Any, i: int) -> Any:
    """Return observation `i` of a batch that was checked."""
    if isinstance(space, spaces.Dict):
        return {key: take(part, obs[key], i) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(take(part, one, i) for part, one in zip(space, obs, strict=True))
    return np.asarray(obs)[i]


def check(space: Space, obs: Any, name: str) -> int | None:
    """Return the size of a batch of observations of `space`, None for a single one.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, Mapping) or obs.keys() != space.keys():
            given = list(obs) if isinstance(obs, Mapping) else type(obs).__name__
            raise ValueError(f"{name}: should be a dict of {list(space)}, not {given}")
        sizes = {check(part, obs[key], f"{name}[{key!r}]") for key, part in space.items()}
    elif isinstance(space, spaces.Tuple):
        if not isinstance(obs, tuple) or len(obs) != len(space):
            given = f"{type(obs).__name__} of {len(obs)}" if isinstance(obs, tuple) else type(obs).__name__
            raise ValueError(f"{name}: should be a tuple of {len(space)}, not {given}")
        sizes = {check(part, obs[i], f"{name}[{i}]") for i, part in enumerate(space)}
    else:
        sizes = {check_array(space, obs, name)}
    if len(sizes) > 1:
        raise ValueError(f"{name}: its parts should be batches of one size")
    return sizes.pop() if sizes else None


def check_array(space: Space, obs: Any, name: str) -> int | None:
    """Return the size of a batch of arrays or numbers, None for a single one."""
    try:
        array = np.asarray(obs)
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    shape = space.shape or ()
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: should be numbers of the shape {shape}, or a batch of these")
    batched = array.ndim == len(shape) + 1
    if array.shape[batched:] != shape:
        batch = ", ".join(map(str, ("B", *shape)))
        raise ValueError(
            f"{name}: should have the shape {shape}, or [{batch}] for a batch, not {array.shape}"
        )
    if space.dtype is not None and space.dtype.kind in "iu":
        low, high = bounds(space)
        if array.dtype.kind == "f" or (array < low).any() or (array > high).any():
            raise ValueError(f"{name}: should be whole numbers in {space}, not {obs}")
    return len(array) if batched else None


def bounds(space: Space) -> tuple[Any, Any]:
    """Return the lowest and the highest observations of a space of whole numbers."""
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    if isinstance(space, spaces.Box):
        return space.low, space.high
    return 0, 1  # MultiBinary
