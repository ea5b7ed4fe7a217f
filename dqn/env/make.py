"""One environment: made as registered, wrapped, and adapted to what networks read."""

import importlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import OrderEnforcing
from numpy.typing import ArrayLike

from dqn.env.encoding import adapt, zero_of
from dqn.env.guard import Guard, close, from_signal_handler, try_one_step
from dqn.env.known import EXTRAS, missing_package, unregistered
from dqn.env.makers import NAMESPACE, MakeEnv, given_now, named, spec_of
from dqn.env.masks import MASK, MaskSource, given_mask, observes_mask, read_part, valid_action
from dqn.env.spec import Channels, becomes_numbers, check_stack, image_of, obs_spec, time_limit
from dqn.errors import WrongValue, brief, one_line
from dqn.types import EnvSpec, Floats

Env = gymnasium.Env[Any, Any]
Wrapper = Callable[[Env], Env]

NEEDS_DISCRETE = (
    "Q-learning needs a Discrete space, which gymnasium.wrappers.DiscretizeAction in env.wrappers makes"
)

GIVE_AGAIN = (
    "the run's environment was given in Python, and no other process can import it; give it again:"
    " dqn.load(RUN, env=...), dqn.evaluate(RUN, env=...) or dqn.resume(RUN, env=...)"
)


@dataclass(frozen=True, kw_only=True)
class EnvFactory:
    """Makes equal environments. Every method that makes one raises WrongValue if a key is wrong.

    Args:
        game: the game, where an option of `env` makes `id` of it; only errors name it.
        id: a registered id, "package:id", which imports the package first, or "module:NAME" of a class of
            environments or a function that makes one.
        module: a package to import first, which registers the id; None: no package.
        kwargs: the arguments of gymnasium.make.
        max_episode_steps: steps after which an episode is truncated; None: as registered, or in `kwargs`.
        wrappers: each takes an environment and returns it wrapped. The first is the innermost.
        training_wrappers: further wrappers around these, in training only.
        scale_bytes: whether the network reads bytes that span 0 to 255 divided by 255.
        frame_stack: successive observations that the network reads together.
        channels: where images have their channels; auto: at the end that leaves the more square picture.
        action_mask: where it gives masks of the valid actions: its info, or a part of its observations; None:
            all actions are always valid.
        reward_scale: factor of the rewards that are learned from.
        reward_clip: before that, they are clipped to [-reward_clip, reward_clip]; None: they are not.
        maker: a class or function that Python code gave; `id` is then only its name. None: there is none.
    """

    game: str | None
    id: str
    module: str | None
    kwargs: Mapping[str, Any]
    max_episode_steps: int | None
    wrappers: Sequence[Wrapper]
    training_wrappers: Sequence[Wrapper]
    scale_bytes: bool
    frame_stack: int
    channels: Channels
    action_mask: MaskSource | None
    reward_scale: float
    reward_clip: float | None
    maker: MakeEnv | None = field(default_factory=given_now)

    def make(self, *, training: bool) -> Env:
        """Return an environment as networks read it: wrapped, guarded and adapted.

        The guard replaces Gymnasium's check that `reset` came before `step`.
        """
        guard = Guard(self.make_wrapped(training=training), id=self.id, action_mask=self.action_mask)
        layer: gymnasium.Wrapper[Any, Any, Any, Any] = guard
        while isinstance(layer.env, gymnasium.Wrapper):
            if type(layer.env) is OrderEnforcing:
                layer.env = layer.env.env
            else:
                layer = layer.env
        return adapt(guard, scale_bytes=self.scale_bytes, action_mask=self.action_mask)

    def learned_reward(self, raw: ArrayLike) -> Floats:
        """Return rewards of the environment as they are learned from, clipped and scaled."""
        clipped = raw if self.reward_clip is None else np.clip(raw, -self.reward_clip, self.reward_clip)
        return np.asarray(np.multiply(clipped, self.reward_scale), np.float32)

    def make_wrapped(self, *, training: bool) -> Env:
        """Return a wrapped environment with the observations and actions that its wrappers give it."""
        env = self.make_registered()
        for key, wrapper in self._layers(training=training):
            env = self._wrap(env, key, wrapper)
        return env

    def make_registered(self) -> Env:
        """Return the environment of the id, without the wrappers."""
        id, module = self.id, self.module
        try:
            if module is not None:
                importlib.import_module(module)
            maker = self.maker or named(id)
            kwargs = {"max_episode_steps": self.max_episode_steps, **self.kwargs}
            made_by = id if maker is None else spec_of(id, maker)
            return gymnasium.make(made_by, disable_env_checker=True, **kwargs)
        except gymnasium.error.DependencyNotInstalled as error:
            raise missing_package(id, module, error) from None
        except gymnasium.error.UnregisteredEnv as error:
            if id.startswith(NAMESPACE):
                raise WrongValue("env.id", id, GIVE_AGAIN) from None
            raise unregistered(id, module, self.game, error) from None
        except ModuleNotFoundError as error:
            if module in EXTRAS:
                raise missing_package(id, module, error) from None
            own = module is not None and f"{module}.".startswith(f"{error.name}.")
            key, value = ("env.module", module) if own else ("env.id", id)
            raise WrongValue(key, value, f"no such package can be imported ({error})") from None
        except TypeError as error:
            if self.kwargs:
                raise WrongValue("env.kwargs", self.kwargs, f"{id} does not take them ({error})") from None
            raise WrongValue("env.id", id, f"cannot be made ({one_line(error)})") from None
        except (Exception, SystemExit) as error:
            if from_signal_handler(error):
                raise
            raise WrongValue("env.id", id, f"cannot be made ({one_line(error)})") from None

    @property
    def spec(self) -> EnvSpec:
        """The facts about the environment that other parts need.

        This inspects a new environment unless the latest inspected one came from an equal factory.
        """
        return _INSPECTED.get(by_value(self)) or self.inspect()

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """Return what the network reads of the observations of a new wrapped environment, not yet encoded."""
        with process_settings():
            env = self.make_wrapped(training=False)
            close(env, self.id)
        return self._read_space(env)

    def first_info(self) -> Mapping[str, Any]:
        """Return the info that the first step of a new environment gives."""
        with process_settings():
            env = self.make(training=True)
            try:
                _, info = env.reset(seed=0)
                *_, info = env.step(valid_action(given_mask("info", None, info), 0))
            finally:
                close(env, self.id)
        return info if isinstance(info, Mapping) else {}

    def inspect(self) -> EnvSpec:
        """Return the spec of a new environment, and try each of its wrappers for one step."""
        with process_settings():
            spec = self._inspect()
        _INSPECTED.clear()
        _INSPECTED[by_value(self)] = spec
        return spec

    def _inspect(self) -> EnvSpec:
        env = self.make_registered()
        try:
            for key, wrapper in self._layers(training=True):
                inner, env = env, self._wrap(env, key, wrapper)
                with self._wrapping(key, wrapper):
                    try_one_step(env, self.action_mask)
                if key.startswith("env.training_wrappers") and spaces_of(env) != spaces_of(inner):
                    should = "should leave observations and actions as they are; env.wrappers may change them"
                    raise WrongValue(key, as_node(wrapper), should)
            self._check_spaces(env)
            actions = env.action_space
            if not isinstance(actions, spaces.Discrete):
                raise WrongValue("env.id", self.id, f"its actions are {actions}; {NEEDS_DISCRETE}")
            self._check_mask(env, int(actions.n))
            check_stack(env, self.frame_stack)
            whole, space = env.observation_space, self._read_space(env)
            env = adapt(env, scale_bytes=self.scale_bytes, action_mask=self.action_mask)
            obs = obs_spec(
                env.observation_space,
                self.id,
                scale_bytes=self.scale_bytes,
                stack=self.frame_stack,
                image=image_of(space, self.channels),
            )
            if self.frame_stack > 1:
                zero = zero_of(whole, scale_bytes=self.scale_bytes, action_mask=self.action_mask)
                padding = zero.astype(obs.dtype)
                obs = obs._replace(padding_bytes=padding.tobytes() if padding.any() else b"")
            return EnvSpec(obs, int(actions.n), time_limit(env), self.action_mask is not None)
        finally:
            close(env, self.id)

    def _check_spaces(self, env: Env) -> None:
        """Raise WrongValue if a space is missing, is another package's, or holds no numbers."""
        for name in ("observation_space", "action_space"):
            space = getattr(env, name, None)
            if not isinstance(space, spaces.Space):
                should = f"its {name} should be a space of Gymnasium; it is {brief(space)}"
                raise WrongValue("env.id", self.id, should)
        space = env.observation_space
        if becomes_numbers(space) and spaces.flatdim(space) == 0:
            raise WrongValue("env.id", self.id, f"its observations are {brief(space)}, which hold no numbers")

    def _check_mask(self, env: Env, num_actions: int) -> None:
        """Raise WrongValue if the environment gives no masks where `action_mask` looks for them."""
        is_observed = observes_mask(env.observation_space, num_actions)
        if self.action_mask is None or (self.action_mask == "obs" and is_observed):
            return
        _, info = Guard(env, id=self.id).reset(seed=0)
        is_in_info = given_mask("info", None, info) is not None
        if self.action_mask == "info" and is_in_info:
            return
        found = f"a reset of {self.id} gives no info[{MASK!r}]"
        if self.action_mask == "obs":
            part = f"a part {MASK} of {num_actions} numbers and another part"
            found = f"{self.id} observes {brief(env.observation_space)}, which is no Dict with {part}"
        should = "info" if is_in_info else "obs" if is_observed else "null"
        raise WrongValue("env.action_mask", self.action_mask, f"should be {should}: {found}")

    def _read_space(self, env: Env) -> spaces.Space[Any]:
        """Return the space of what the network reads of observations."""
        return read_part(env.observation_space)[1] if self.action_mask == "obs" else env.observation_space

    def _layers(self, *, training: bool) -> Iterator[tuple[str, Wrapper]]:
        """Yield each wrapper with its key, the innermost first."""
        for i, wrapper in enumerate(self.wrappers):
            yield f"env.wrappers[{i}]", wrapper
        for i, wrapper in enumerate(self.training_wrappers if training else ()):
            yield f"env.training_wrappers[{i}]", wrapper

    def _wrap(self, env: Env, key: str, wrapper: Wrapper) -> Env:
        with self._wrapping(key, wrapper):
            wrapped = wrapper(env)
        if not isinstance(wrapped, gymnasium.Env):
            should = f"should return an environment, not {type(wrapped).__name__}"
            raise WrongValue(key, as_node(wrapper), should)
        return wrapped

    @contextmanager
    def _wrapping(self, key: str, wrapper: Wrapper) -> Iterator[None]:
        """Raise WrongValue if the body, which uses the wrapper, fails."""
        try:
            yield
        except (Exception, SystemExit) as error:
            if from_signal_handler(error):
                raise
            raise WrongValue(key, as_node(wrapper), f"cannot wrap {self.id} ({one_line(error)})") from None


_INSPECTED: dict[Hashable, EnvSpec] = {}
"""The spec of the factory that was inspected last; the key is `by_value` of the factory."""


def by_value(value: Any) -> Hashable:
    """Return a key that is the same for equal factories, wrappers and arguments."""
    if isinstance(value, EnvFactory):
        return tuple(by_value(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, partial):
        return by_value([value.func, value.args, value.keywords])
    if isinstance(value, Mapping):
        return by_value(list(value.items()))
    if isinstance(value, list | tuple):
        return tuple(map(by_value, value))
    return (type(value), value) if isinstance(value, Hashable) else object()


def process_settings() -> AbstractContextManager[None]:
    """Return a context that undoes what environments set for all, such as the number of threads."""
    from dqn.process import preserve_settings  # imports torch, which processes of environments do without

    return preserve_settings()


def life_lost(info: Any) -> bool:
    """Return whether a step with this info cost a life."""
    return isinstance(info, Mapping) and bool(info.get("life_lost"))


def spaces_of(env: Env) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    return env.observation_space, env.action_space


def as_node(wrapper: Wrapper) -> dict[str, Any]:
    """Return the YAML node of a wrapper."""
    function = wrapper.func if isinstance(wrapper, partial) else wrapper
    arguments = wrapper.keywords if isinstance(wrapper, partial) else {}
    name = getattr(function, "__qualname__", type(function).__name__)
    return {"_target_": f"{function.__module__}.{name}", **arguments}
