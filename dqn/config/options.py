"""The KEY=VALUE options of the commands about a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator

from dqn.config.compose import mistakes
from dqn.config.schema import check_keys
from dqn.errors import WrongValue
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
    """The options of evaluate."""

    episodes: PositiveInt = 100
    """Episodes per seed."""
    epsilon: Probability | None = None
    """Probability of a random action; None: runner.eval_epsilon of the run."""
    stream: NonNegativeInt = 0
    """Number that selects the episodes."""
    policy: Literal["last", "best"] = "last"
    """best: the policy of each seed's highest periodic evaluation."""
    video: Annotated[str, AfterValidator(check_video)] | None = None
    """An .mp4 file for an episode of the first seed."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of export."""

    seed: int | None = None
    """A seed of the run; None: the first."""
    policy: Literal["last", "best"] = "last"


Options = TypeVar("Options", EvaluateOptions, ExportOptions)


def read_options(kind: type[Options], values: dict[str, Any]) -> Options:
    """Return the options of a command; raise UserError for unknown options and wrong values."""
    problems: list[WrongValue] = []
    check_keys(values, kind, "", problems)
    if problems:
        raise mistakes(problems, "the command")
    return kind(**values)
