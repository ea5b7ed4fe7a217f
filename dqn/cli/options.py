"""The KEY=VALUE options of the commands about a run."""

import dataclasses
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator

from dqn.config.compose import mistakes
from dqn.config.schema import Problem, check_value
from dqn.types import NonNegativeInt, PositiveInt, Probability


def check_video(file: str) -> str:
    """Return the name of an .mp4 file whose folder exists."""
    if not file.endswith(".mp4"):
        raise ValueError("should be an .mp4 file")
    if not Path(file).absolute().parent.is_dir():
        raise ValueError("should be in a folder that exists")
    return file


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How a run's policies are evaluated."""

    episodes: PositiveInt = 100
    """Of each seed."""
    epsilon: Probability = 0.0
    stream: NonNegativeInt = 0
    """Chooses the episodes."""
    policy: Literal["last", "best"] = "last"
    """best: that of each seed's highest periodic evaluation."""
    video: Annotated[str, AfterValidator(check_video)] | None = None
    """An .mp4 file of an episode of the first seed."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Which policy of a run is exported."""

    seed: int | None = None
    """One of the run's; None: its first."""
    policy: Literal["last", "best"] = "last"


Options = TypeVar("Options", EvaluateOptions, ExportOptions)


def read_options(kind: type[Options], values: dict[str, Any]) -> Options:
    """Return the options of a command.

    Raises:
        UserError: there is no such option, or a value is not allowed.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]
    problems: list[Problem] = []
    checked = {}
    for key, value in values.items():
        if key in names:
            checked[key] = check_value(key, value, hints[key], problems)
        else:
            problems.append(Problem(key, value, f"no such option; there are {', '.join(names)}"))
    if problems:
        raise mistakes(problems, "the command")
    return kind(**checked)
