"""Deep Q-learning experiments, composed from YAML, run for many seeds at once and resumed exactly.

`dqn.train(["agent=double"])` trains a run; `dqn.load("outputs/...")` returns the policy of a run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from dqn.errors import UserError
from dqn.version import __version__ as __version__

if TYPE_CHECKING:
    from dqn.config.api import Run
    from dqn.deploy.greedy_policy import GreedyPolicy

__all__ = ["GreedyPolicy", "Run", "UserError", "load", "train"]


def __getattr__(name: str) -> type[Run] | type[GreedyPolicy]:
    """Import the result classes on first use, because importing torch takes seconds."""
    if name == "Run":
        from dqn.config.api import Run

        return Run
    if name == "GreedyPolicy":
        from dqn.deploy.greedy_policy import GreedyPolicy

        return GreedyPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def train(overrides: Sequence[str] = (), *, config_dir: str | os.PathLike[str] | None = None) -> Run:
    """Train a run to its end and return it.

    Its folder is made in the working directory's outputs/ unless `hydra.run.dir=FOLDER` names another. If
    that folder holds the same run, unfinished, the run is resumed. Process-wide settings are restored at the
    end, except that GNU's C library keeps freed memory for later use.

    Args:
        overrides: configuration overrides in the syntax of the command line, such as "agent=double".
        config_dir: a folder with further configuration options.

    Raises:
        UserError: an override or the resulting configuration is wrong, or the run failed.
    """
    from dqn.config import api  # importing torch takes seconds

    return api.train(overrides, config_dir)


def load(
    run: str | os.PathLike[str],
    *,
    seed: int | None = None,
    policy: Literal["last", "best"] = "last",
    trust: Sequence[str] = (),
) -> GreedyPolicy:
    """Return the greedy policy of a run's last checkpoint.

    Args:
        run: the run folder. It is treated as data: no code but that of this package and of `trust` is run.
        seed: a seed of the run; None: the first one.
        policy: "last", or "best" for the seed's highest periodic evaluation, which is biased upwards.
        trust: custom packages that the run may import.

    Raises:
        UserError: the folder is not a run folder, or it lacks this seed, this policy or a checkpoint.
    """
    from dqn.config import api

    return api.load(run, seed, policy, trust)
