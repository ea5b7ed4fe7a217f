"""Published results, and whether runs of ours agree with them. The results are in published.yaml."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dqn.stats import Estimate

FILE = Path(__file__).with_suffix(".yaml")
SHARE = 0.1
"""Of the range of returns: a wider interval agrees with everything."""
Verdict = Literal["better", "same", "worse", "undecided"]


class Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(Data):
    """A published number: the mean `value` over runs of an agent after `steps` environment steps of each."""

    env: str
    agent: str
    steps: int
    value: float | None = None
    """None: nothing is published."""
    spread: float | None = None
    """Standard deviation over runs, where it is published."""
    overrides: list[str] | None = None
    """The run that repeats it; None: `missing` says why there is none."""
    missing: str | None = None

    @model_validator(mode="after")
    def _has_a_run_or_a_reason(self) -> Self:
        if (self.overrides is None) == (self.missing is None):
            raise ValueError("a row has either overrides or the reason why they are missing")
        return self


class Table(Data):
    """Published numbers of one source."""

    about: str
    source: str
    score: Literal["training", "evaluation"]
    runs: Annotated[int, Field(ge=0)]
    """Independent runs behind each number."""
    rows: list[Row]


class Published(Data):
    """All that is published."""

    ranges: dict[str, tuple[float, float]]
    """Lowest and highest return of each environment."""
    tables: dict[str, Table]


def read_published() -> Published:
    """Return what published.yaml has."""
    return Published.model_validate(yaml.safe_load(FILE.read_text()))


def published_interval(value: float, *, spread: float | None, runs: int, scores: Sequence[float]) -> Estimate:
    """Return a published mean with two standard errors on either side.

    Args:
        value: the mean.
        spread: the standard deviation over its runs. None: it is not published, and that of ours is taken.
        runs: how many it is the mean of.
        scores: ours, of at least two seeds.
    """
    deviation = statistics.stdev(scores) if spread is None else spread
    margin = 2 * deviation / math.sqrt(runs)
    return Estimate(value, value - margin, value + margin)


def compare(ours: Estimate, theirs: Estimate, limits: tuple[float, float]) -> Verdict:
    """Return how a mean over our seeds stands to a published one.

    "better" or "worse": the intervals do not meet, however wide they are. Else "same", unless one of them is
    wider than a tenth of the range of returns, which is "undecided": it agrees with everything.

    Args:
        ours: the mean and its 95 % interval.
        theirs: from `published_interval`.
        limits: lowest and highest return of the environment.
    """
    if ours.low > theirs.high:
        return "better"
    if ours.high < theirs.low:
        return "worse"
    widest = SHARE * (limits[1] - limits[0])
    return "same" if max(width(ours), width(theirs)) <= widest else "undecided"


def width(interval: Estimate) -> float:
    return interval.high - interval.low
