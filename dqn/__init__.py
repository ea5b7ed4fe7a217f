"""Deep Q-learning experiments, composed from YAML, run for many seeds at once and resumed exactly.

`dqn.train(["agent=double"])` trains a run and returns it; `dqn.train(env=MyEnvironment)` trains on a class of
yours. `dqn.resume(run)` continues a run, `dqn.evaluate(run)` plays episodes with its policies, and
`dqn.load(run)` returns a policy. Here `run` is what `dqn.train` returned, or a run folder.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from dqn.errors import UserError, short_traceback
from dqn.version import __version__ as __version__

if TYPE_CHECKING:
    import gymnasium

    from dqn.config.api import Run
    from dqn.config.evaluate import Evaluation
    from dqn.deploy.greedy_policy import GreedyPolicy
    from dqn.runner import Training

    OnIteration = Callable[[Training], object]
    MakeEnv = Callable[..., gymnasium.Env[Any, Any]]

__all__ = ["Evaluation", "GreedyPolicy", "Run", "UserError", "evaluate", "load", "resume", "train"]

_RESULTS = {
    "Evaluation": "dqn.config.evaluate",
    "GreedyPolicy": "dqn.deploy.greedy_policy",
    "Run": "dqn.config.api",
}
"""The classes of results, and the modules that they are imported from on first use: torch takes seconds."""


def __getattr__(name: str) -> Any:
    if name not in _RESULTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_RESULTS[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


@short_traceback
def train(
    overrides: Sequence[str] = (),
    *,
    config_dir: str | os.PathLike[str] | None = None,
    env: MakeEnv | None = None,
    on_iteration: OnIteration | None = None,
) -> Run:
    """Train a run to its end and return it.

    Its folder is made in the working directory's outputs/ unless `hydra.run.dir=FOLDER` names another. If
    that folder holds the same run, unfinished, the run is resumed. Process-wide settings are restored at the
    end, except that GNU's C library keeps freed memory for later use.

    The run's log lines are printed, unless your logging already handles those of the logger `dqn`.

    Args:
        overrides: configuration overrides in the syntax of the command line, such as "agent=double".
        config_dir: a folder with further configuration options.
        env: a class of environments, or a function that makes one, called with the values in `env.kwargs`;
            None: the environment of the overrides. It takes the values of `env=base`, which overrides may
            change, such as "env.max_episode_steps=200".
        on_iteration: a function that is called after each iteration with the run, a dqn.runner.Training: its
            counters and policy, `log` for numbers of yours, and `stop`.

    Raises:
        UserError: an override or the resulting configuration is wrong, or the run failed.
    """
    from dqn.config import api  # importing torch takes seconds

    return api.train(overrides, config_dir=config_dir, env=env, on_iteration=on_iteration)


@short_traceback
def resume(
    run: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    *,
    env: MakeEnv | None = None,
    on_iteration: OnIteration | None = None,
    restart: bool = False,
    trust: Sequence[str] = (),
) -> Run:
    """Continue a run from its last checkpoint, as if it had not been stopped, and return it.

    Args:
        run: the run folder, as in `load`.
        overrides: a larger "runner.total_steps=N" or "runner.total_episodes=N", and what else may change.
        env: the environment, as in `load`.
        on_iteration: as in `train`.
        restart: start the run again from the beginning; its checkpoint, metrics and result are replaced.
        trust: custom packages that the run may import.

    Raises:
        UserError: the folder is not a run folder, an override is wrong or changes the training, or the run
            failed.
    """
    from dqn.config import api

    return api.resume(run, overrides, env=env, on_iteration=on_iteration, restart=restart, trust=trust)


@short_traceback
def evaluate(
    run: str | os.PathLike[str],
    *,
    episodes: int = 100,
    epsilon: float | None = None,
    stream: int = 0,
    policy: Literal["last", "best"] = "last",
    video: str | os.PathLike[str] | None = None,
    env: MakeEnv | None = None,
    trust: Sequence[str] = (),
) -> Evaluation:
    """Play fresh episodes with the policies of all seeds of a run; return the results.

    They are written to evaluation.json in the run folder too.

    Args:
        run: the run folder, as in `load`.
        episodes: episodes per seed.
        epsilon: the probability of a random action; None: runner.eval_epsilon of the run.
        stream: selects the episodes; the same number gives the same ones.
        policy: "last", or "best" for each seed's highest periodic evaluation, which is biased upwards.
        video: an .mp4 file for a greedy episode of the first seed; None: no video.
        env: the environment, as in `load`.
        trust: custom packages that the run may import.

    Raises:
        UserError: the folder is not a run folder, it lacks this policy or a checkpoint, or a value is wrong.
    """
    from dqn.config import api

    options = {"episodes": episodes, "epsilon": epsilon, "stream": stream, "policy": policy}
    return api.evaluate(run, options | {"video": video and os.fspath(video)}, env=env, trust=trust)


@short_traceback
def load(
    run: str | os.PathLike[str],
    *,
    seed: int | None = None,
    policy: Literal["last", "best"] = "last",
    env: MakeEnv | None = None,
    trust: Sequence[str] = (),
) -> GreedyPolicy:
    """Return the greedy policy of a run's last checkpoint.

    Args:
        run: the run folder, or a Run. It is treated as data: no code but that of this package, of `env` and
            of `trust` is run.
        seed: a seed of the run; None: the first one.
        policy: "last", or "best" for the seed's highest periodic evaluation, which is biased upwards.
        env: the class or function that the run was trained on; None: what this process knows of it, or can
            import.
        trust: custom packages that the run may import.

    Raises:
        UserError: the folder is not a run folder, or it lacks this seed, this policy or a checkpoint.
    """
    from dqn.config import api

    return api.load(run, seed=seed, policy=policy, env=env, trust=trust)
