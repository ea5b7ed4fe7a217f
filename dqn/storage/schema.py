"""Types of the JSON files of a run folder and of the parts of a checkpoint, checked as they are loaded.

So no other code has to expect anything else. Sizes that depend on the run are checked by the objects that
take them, with `dqn.state`.
"""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from annotated_types import Ge, Le, Len, Lt
from pydantic import ConfigDict, Strict, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # Python 3.11 has one that pydantic cannot read

from dqn.errors import one_line

T = TypeVar("T")
Finite = Annotated[float, Ge(-1e100), Le(1e100)]
"""A number whose square and sums are finite too; single-precision numbers are."""
Count = Annotated[int, Ge(0), Lt(2**63)]
SeedName = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,100}$")]
PartName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}-[0-9]{1,20}\.[a-z]{1,10}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Returns = Annotated[list[Finite | None], Len(1)]
"""Returns of episodes; None stands for one that is not finite."""

FORMAT = 4
"""Version of the content of checkpoints; those of other versions are refused."""

STRICT = ConfigDict(strict=True, extra="forbid")
OPEN = ConfigDict(strict=True, extra="allow")
"""Keeps fields that this version does not know."""


@with_config(STRICT)
class Entry(TypedDict):
    """A file of a checkpoint."""

    name: FileName
    size: Count
    sha256: Digest


@with_config(OPEN)
class Format(TypedDict):
    """The field that the manifests of all versions have."""

    format: int


@with_config(STRICT)
class Manifest(TypedDict):
    """checkpoint/manifest.json."""

    format: int
    iteration: Count
    files: dict[PartName, Annotated[list[Entry], Len(1)]]


@with_config(STRICT)
class Progress(TypedDict):
    unit: str
    tick: Count
    total: Count
    iteration: Count
    updates: Count
    steps: list[Count]
    episodes: list[Count]


@with_config(STRICT)
class BestSeed(TypedDict):
    mean_return: Finite | None
    iteration: Count


@with_config(STRICT)
class Best(TypedDict):
    note: str
    seeds: Annotated[dict[SeedName, BestSeed], Len(1)]


@with_config(OPEN)
class Status(TypedDict, total=False):
    """status.json."""

    created: str
    updated: str
    state: Literal["running", "interrupted", "finished", "failed"]
    commands: list[str]
    error: str | None
    stopped: str | None
    """The reason that a callback gave to end the run before its total."""
    reproducible: bool
    irreproducible_because: str | None
    result: Finite | None
    """Also None if the run has finished, but its result is not a finite number."""
    evaluation: dict[SeedName, Returns] | None
    best: Best | None
    progress: Progress | None
    versions: dict[str, str]
    git: str | None
    cpu_seconds: Finite


@with_config(STRICT)
class CountersState(TypedDict):
    transitions: list[list[Count]]
    episodes: list[Count]
    updates: Count
    recent: list[list[float]]
    evaluation: dict[SeedName, list[float]] | None


@with_config(STRICT)
class LoggerState(TypedDict):
    sums: list[list[float]]
    counts: list[Count]


@with_config(STRICT)
class FilesState(TypedDict):
    """The state of the run's files at a checkpoint."""

    metrics: list[Count]
    """Bytes of each seed's metrics.jsonl."""
    trackers: dict[str, dict[str, Any]]
    """The states of trackers by name; each checks its own."""


@with_config(STRICT)
class LearnerState(TypedDict):
    """The part `learner` of a checkpoint."""

    agent: Any
    counters: CountersState
    logger: LoggerState
    files: FilesState
    tick: Count
    iteration: Count
    stopped: NotRequired[str]


@with_config(STRICT)
class BestState(TypedDict):
    """The part `best` of a checkpoint."""

    policy: dict[str, Any]
    score: list[float]
    iteration: list[Count]


PARTS: dict[str, Any] = {"best": BestState, "callbacks": list[Any], "learner": LearnerState}
"""The parts whose structure does not depend on the configuration."""
Line = dict[str, Annotated[Finite, Strict()]]
"""A line of metrics.jsonl."""


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parsed(kind: type[T], content: bytes) -> T:
    """Return the value of a JSON text; ValueError if it is not one of this type."""
    value: T = validated(kind, TypeAdapter.validate_json, content)
    return value


def checked(kind: type[T], value: Any) -> T:
    """Return a value; ValueError if it is not of this type."""
    found: T = validated(kind, TypeAdapter.validate_python, value)
    return found


def validated(kind: Any, validate: Callable[..., Any], given: Any) -> Any:
    """Return what a validation returns; raise its first problem as a ValueError of one line."""
    try:
        return validate(adapter(kind), given, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        should = problem["msg"].removeprefix("Input ").removeprefix("String ")
        raise ValueError(one_line(f"{where} {should}" if where else should)) from None
