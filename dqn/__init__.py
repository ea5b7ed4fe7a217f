"""Deep Q-learning experiments: composed from YAML, run for many seeds at once, resumed exactly.

From Python: `dqn.train(["agent=double"])` trains a run, `dqn.load("outputs/...")` returns a run's policy.
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
    """Import the classes of the results where they are asked for: torch takes seconds."""
    if name == "Run":
        from dqn.config.api import Run

        return Run
    if name == "GreedyPolicy":
        from dqn.deploy.greedy_policy import GreedyPolicy

        return GreedyPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def train(overrides: Sequence[str] = (), *, config_dir: str | os.PathLike[str] | None = None) -> Run:
    """Return a run, trained to its end.

    It leaves the state of the process as it was, with one exception: where the C library is GNU's, it
    goes on keeping freed memory for later use.

    Its folder lies below the working directory unless `hydra.run.dir=FOLDER` names another. If that folder
    holds the same run, interrupted, it goes on.

    Args:
        overrides: as on the command line, such as "agent=double".
        config_dir: a folder of further options.

    Raises:
        UserError: the overrides, or what they configure, is not as it should be; or the run failed.
    """
    from dqn.config import api  # torch takes seconds

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
        run: the run folder. It is data: what it names is not run unless it is this package's own, or trusted.
        seed: one of the run's; None: the first.
        policy: "best" is that of the seed's highest periodic evaluation: selected, so biased upwards.
        trust: packages of your own that the run may import.

    Raises:
        UserError: the folder is not a run's, or it has no such seed or policy, or no checkpoint.
    """
    from dqn.config import api

    return api.load(run, seed, policy, trust)
