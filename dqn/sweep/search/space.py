"""The search space: ranges in Hydra's grammar as Optuna's distributions."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from dqn.config.compose import mistakes
from dqn.config.overrides import NO_VALUES
from dqn.errors import first_line

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    Range = CategoricalDistribution | FloatDistribution | IntDistribution

Ranges: TypeAlias = "Mapping[str, Range]"
Value = str | float

SEED_KEYS = ("seed", "num_seeds")
"""Keys that a search cannot vary, since it reruns the best settings on other seeds."""
DIGITS = 6
"""Significant digits of a number that is tried; more would only make folder names longer."""


class SearchSpace(NamedTuple):
    """The keys of a search."""

    ranges: Ranges
    fixed: list[str]
    """Overrides that all trials share."""

    def overrides(self, values: Mapping[str, Value]) -> list[str]:
        """Return the overrides of a trial."""
        return [*self.fixed, *(f"{key}={text(values[key])}" for key in self.ranges)]


def space_of(overrides: Iterable[Override]) -> SearchSpace:
    """Return the search space of the overrides of several keys.

    Raises:
        UserError: a range cannot be searched, or there is none.
    """
    ranges: dict[str, Range] = {}
    fixed, problems = [], []
    for override in overrides:
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
        elif override.key_or_group in SEED_KEYS:
            problems.append(f"{override.input_line}: should be one value, the same for all trials")
        else:
            try:
                ranges[override.get_key_element()] = to_distribution(override)
            except ValueError as error:
                problems.append(f"{override.input_line}: {first_line(error)}")
    if not ranges and not problems:
        problems.append(
            "a search needs a range: KEY=interval(LOW,HIGH), tag(log,interval(LOW,HIGH)), choice(A,B)"
            " or range(START,STOP,STEP), on the command line or in hydra.sweeper.params"
        )
    if problems:
        raise mistakes(problems, "the search")
    return SearchSpace(ranges, fixed)


def to_distribution(override: Override) -> "Range":
    """Return a range as a distribution: of texts for a choice, else of numbers.

    An interval holds real numbers, `int(interval(1,9))` whole ones. A range holds the same values as in a
    grid, so it excludes its stop. `tag(log, ...)` spreads numbers evenly over orders of magnitude.

    Raises:
        ValueError: the range cannot be searched; the message says what is allowed.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    tags: set[str] = getattr(value, "tags", set())  # a glob has no tags
    if tags - {"log"}:
        raise ValueError(f"should have the tag log, not {', '.join(sorted(tags - {'log'}))}")
    if isinstance(value, IntervalSweep):
        low, high, step = value.start, value.end, None
    elif isinstance(value, RangeSweep):
        values = sorted(value.range()) if value.step else []
        if not values:
            raise ValueError(NO_VALUES)
        low, high, step = values[0], values[-1], abs(value.step)
    elif tags:
        raise ValueError("only an interval or a range of numbers can be logarithmic")
    else:
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("should have finite bounds")
    log = "log" in tags
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int | None):
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)


def text(value: Value) -> str:
    """Return a value as written on the command line."""
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)


def values_of(key: str, one: "Range") -> Sequence[Value]:
    """Return the values of a range: choices in their order, numbers ascending.

    Raises:
        UserError: it is an interval, which has no steps.
    """
    from optuna.distributions import CategoricalDistribution

    if isinstance(one, CategoricalDistribution):
        return [str(choice) for choice in one.choices]
    if one.step is None:
        should = "should be a choice or a range with steps for the grid sampler"
        raise mistakes([f"{key}=interval({one.low:g},{one.high:g}): {should}"], "the search")
    number = round((one.high - one.low) / one.step) + 1
    return [min(one.low + i * one.step, one.high) for i in range(number)]
