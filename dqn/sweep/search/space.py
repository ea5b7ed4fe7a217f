"""What a search may try: ranges in Hydra's grammar as the distributions of Optuna."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from dqn.config.compose import NO_VALUES, mistakes
from dqn.errors import first_line

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Ranges: TypeAlias = "Mapping[str, BaseDistribution]"
Value = str | float

OWN = ("seed", "num_seeds")
"""Keys of which a search has one value: the best settings are run again on other seeds."""
DIGITS = 6
"""Significant ones of a number that is tried: more say nothing, and make long names of folders."""


class SearchSpace(NamedTuple):
    """The keys of a search."""

    ranges: Ranges
    fixed: list[str]
    """The words that all trials have."""

    def words(self, values: Mapping[str, Value]) -> list[str]:
        """Return the words of a trial."""
        return [*self.fixed, *(f"{key}={text(values[key])}" for key in self.ranges)]

    def first(self) -> dict[str, Value]:
        """Return the first value of each range."""
        return {key: first_value(one) for key, one in self.ranges.items()}


def space_of(overrides: Iterable[Override]) -> SearchSpace:
    """Return what is searched; of two overrides of one key the later one counts.

    Raises:
        UserError: an override is no range that can be searched, or none is one.
    """
    last = {override.get_key_element(): override for override in overrides}
    ranges: dict[str, BaseDistribution] = {}
    fixed, problems = [], []
    for key, override in last.items():
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
        elif override.key_or_group in OWN:
            problems.append(f"{override.input_line}: should be one value, the same for all trials")
        else:
            try:
                ranges[key] = to_distribution(override)
            except ValueError as error:
                problems.append(f"{override.input_line}: {first_line(error)}")
    if not ranges and not problems:
        problems.append(
            "a search needs a range: KEY=interval(LOW,HIGH), tag(log,interval(LOW,HIGH)), choice(A,B)"
            " or range(START,STOP,STEP), here or in hydra.sweeper.params"
        )
    if problems:
        raise mistakes(problems, "the search")
    return SearchSpace(ranges, fixed)


def to_distribution(override: Override) -> "BaseDistribution":
    """Return a range as a distribution: of texts for a choice, else of numbers.

    An interval is of real numbers, and `int(interval(1,9))` of whole ones; a range has the values that it has
    for a grid, so its stop is not one. `tag(log, ...)` spreads numbers evenly over orders of magnitude.

    Raises:
        ValueError: nothing can be drawn from it; its text says what would be right.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    tags: set[str] = getattr(value, "tags", set())  # a glob has none
    if tags - {"log"}:
        raise ValueError(f"the tag of a search is log, not {', '.join(sorted(tags - {'log'}))}")
    if isinstance(value, IntervalSweep):
        low, high, step = value.start, value.end, None
    elif isinstance(value, RangeSweep):
        low, high, step = ends(value)
    elif tags:
        raise ValueError("only an interval or a range of numbers can be logarithmic")
    else:
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("should have finite ends")
    log = "log" in tags
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int | None):
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)


def ends(value: RangeSweep) -> tuple[float, float, float]:
    """Return the least and the greatest value of a range and its step."""
    values = sorted(value.range()) if value.step else []
    if not values:
        raise ValueError(NO_VALUES)
    return values[0], values[-1], abs(value.step)


def text(value: Value) -> str:
    """Return a value as it is written on the command line."""
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)


def first_value(one: "BaseDistribution") -> Value:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(one, CategoricalDistribution):
        return str(one.choices[0])
    assert isinstance(one, FloatDistribution | IntDistribution)
    return one.low


def values_of(key: str, one: "BaseDistribution") -> Sequence[Value]:
    """Return the values of a range, ascending.

    Raises:
        UserError: nobody says how many they are.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(one, CategoricalDistribution):
        return [str(choice) for choice in one.choices]
    assert isinstance(one, FloatDistribution | IntDistribution)
    if one.step is None:
        should = "should be a choice or a range with steps for the sampler grid"
        raise mistakes([f"{key}=interval({one.low:g},{one.high:g}): {should}"], "the search")
    number = round((one.high - one.low) / one.step) + 1
    return [min(one.low + i * one.step, one.high) for i in range(number)]
