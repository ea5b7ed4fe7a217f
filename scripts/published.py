"""Published results, read from published.yaml, and the comparison of our runs with them."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dqn.atari_scores import players_of
from dqn.stats import Estimate

FILE = Path(__file__).with_suffix(".yaml")
SHARE = 0.1
"""Share of the range of returns; an interval wider than that agrees with everything."""
Verdict = Literal["better", "same", "worse", "undecided"]


class Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(Data):
    """A published number: the mean return over runs of an agent after `steps` environment steps each."""

    env: str
    agent: str
    steps: int
    value: float | None = None
    """The mean return; None if it is not published."""
    spread: float | None = None
    """Standard deviation over runs; None if it is not published."""
    overrides: list[str] | None = None
    """Overrides of the run that repeats it; None if there is none, for the reason `missing`."""
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
    score: Literal["training", "evaluation", "iteration"]
    iteration: int | None = None
    """Environment steps over whose episodes the score "iteration" averages."""
    runs: Annotated[int, Field(ge=0)] | None
    """Independent runs averaged in each number; None if they are unknown."""
    human_normalized_iqm: dict[str, float] = {}
    """The interquartile mean over the runs of all games, by agent."""
    rows: list[Row]

    @model_validator(mode="before")
    @classmethod
    def _of_games(cls, table: dict[str, Any]) -> dict[str, Any]:
        """Return a table of games as a table of rows."""
        table = dict(table)
        if (games := table.pop("games", None)) is not None:
            at, agents = table.pop("at"), table.pop("agents")
            table["rows"] = [
                row_of_game(game, run, steps, *number)
                for game, by_agent in games.items()
                for agent, numbers in by_agent.items()
                for run in agents[agent]
                for steps, number in zip(at, numbers, strict=True)
            ]
        return table


def row_of_game(
    game: str, run: dict[str, Any], steps: int, value: float, spread: float | None = None
) -> dict[str, Any]:
    """Return the row of a game of Atari; `run` has the agent, and the overrides or the reason without."""
    chosen = [f"env.game={game}"]
    overrides = {"overrides": [*run["overrides"], *chosen]} if "overrides" in run else {}
    return {"env": f"Atari/{game}-v0", "steps": steps, "value": value, "spread": spread} | run | overrides


class Published(Data):
    """All published numbers."""

    ranges: dict[str, tuple[float, float]]
    """Lowest and highest return of each environment, except the games of Atari 100k."""
    tables: dict[str, Table]

    def range_of(self, env: str) -> tuple[float, float]:
        """Return the lowest and the highest return of an environment, or those of random play and a human."""
        return players_of(env) or self.ranges[env]


def read_published() -> Published:
    """Return the content of published.yaml."""
    return Published.model_validate(yaml.safe_load(FILE.read_text()))


def published_interval(value: float, *, spread: float | None, runs: int, scores: Sequence[float]) -> Estimate:
    """Return a published mean with two standard errors on either side.

    Args:
        value: the published mean.
        spread: its standard deviation over runs; None (not published) takes that of `scores`.
        runs: number of published runs.
        scores: our scores, of at least two seeds.
    """
    deviation = statistics.stdev(scores) if spread is None else spread
    margin = 2 * deviation / math.sqrt(runs)
    return Estimate(value, value - margin, value + margin)


def compare(ours: Estimate, theirs: Estimate, limits: tuple[float, float]) -> Verdict:
    """Return how our mean compares with a published one.

    "better" or "worse" if the intervals do not overlap, "undecided" if one of them is wider than a tenth of
    the range of returns, else "same".

    Args:
        ours: our mean and its 95 % interval.
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
