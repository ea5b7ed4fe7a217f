"""Custom parts of a configuration, and errors of runs that have some."""

import traceback
from typing import Any

from dqn.config.commands import command
from dqn.config.schema import PART_LISTS
from dqn.config.trust import NOT_OWN, package, shipped_targets
from dqn.errors import UserError, cause_of, root_cause
from dqn.storage.flatten import entries

FRAMES = 3
"""Functions of the user's package that a message quotes; the innermost ones say what was wrong."""


def custom_parts(config: dict[str, Any]) -> dict[str, str]:
    """Return the key and the `_target_` of each custom part, except wrappers, whose errors are reported."""
    targets = {path.removesuffix("._target_"): one for path, key, one in entries(config) if key == "_target_"}
    others = NOT_OWN | {"dqn", "torch"}
    return {
        key: target
        for key, target in targets.items()
        if target not in shipped_targets()
        and package(target) not in others
        and not key.startswith(PART_LISTS)
    }


def failure_of(error: Exception, config: dict[str, Any]) -> UserError | None:
    """Return an error as a message that names the custom parts of the run; None if it has none.

    Its cause is `error`, whose traceback is printed with HYDRA_FULL_ERROR=1.
    """
    parts = custom_parts(config)
    if not parts:
        return None
    cause, packages = root_cause(error), {package(target) for target in parts.values()}
    frames = [
        (frame, line)
        for frame, line in traceback.walk_tb(cause.__traceback__)
        if package(frame.f_globals.get("__name__")) in packages
    ]
    quoted = "".join(traceback.StackSummary.extract(iter(frames[-FRAMES:])).format())
    names = ", ".join(f"{key}={target}" for key, target in parts.items())
    check = f"examine it with {command('check')} and the same overrides"
    more = "HYDRA_FULL_ERROR=1 in front of the command prints the whole traceback"
    failure = UserError(f"{cause_of(error)}\n{quoted}the run has a custom part: {names}; {check}; {more}")
    failure.__cause__ = error
    return failure
