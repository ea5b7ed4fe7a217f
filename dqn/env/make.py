"""One environment, made from the keys of the configuration."""

import importlib
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.wrappers import OrderEnforcing

from dqn.env.spec import obs_spec
from dqn.errors import UserError
from dqn.types import EnvSpec

EXTRAS = {"box2d": "box2d"}
"""Which extra of this package brings what an environment's module needs."""


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
