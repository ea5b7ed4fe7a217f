"""Samplers propose the values of trials, pruners stop trials early; they create Optuna's when needed."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dqn.sweep.launcher import Natural
from dqn.sweep.search.space import Ranges, Value, values_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Values = dict[str, Value]


class SearchSampler(Protocol):
    """Proposes the values of trials.

    They depend only on the trials before: a search that was killed and continued proposes the same values as
    one that was not.
    """

    def __call__(self, ranges: Ranges, trials: "Sequence[FrozenTrial]") -> Values:
        """Return the values of the trial that follows `trials`."""

    def max_trials(self, ranges: Ranges) -> int | None:
        """Return the largest number of trials, None if there is no limit.

        Raises:
            UserError: the sampler does not support a range.
        """
        return None


def ask(sampler: "BaseSampler", ranges: Ranges, trials: "Sequence[FrozenTrial]") -> Values:
    """Return the values that a sampler of Optuna's proposes, without storing them."""
    import optuna

    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)
    return study.ask(dict(ranges)).params


class Pruner(Protocol):
    """Creates a pruner, which decides from the reported returns which trials to stop."""

    def __call__(self) -> "BasePruner": ...


@dataclass(frozen=True, kw_only=True)
class TpeSampler(SearchSampler):
    """Bergstra et al. (2011), "Algorithms for hyper-parameter optimization", over all keys jointly.

    A running trial counts as a bad one, so that concurrent trials try different values.
    """

    seed: Natural
    n_startup_trials: Natural

    def __call__(self, ranges: Ranges, trials: "Sequence[FrozenTrial]") -> Values:
        from optuna.samplers import TPESampler

        from dqn.seeding import integer

        sampler = TPESampler(
            seed=integer(self.seed, "search", len(trials)),
            n_startup_trials=self.n_startup_trials,
            multivariate=True,
            constant_liar=True,
        )
        return ask(sampler, ranges, trials)


@dataclass(frozen=True, kw_only=True)
class RandomSampler(SearchSampler):
    """Bergstra and Bengio (2012), "Random search for hyper-parameter optimization"."""

    seed: Natural

    def __call__(self, ranges: Ranges, trials: "Sequence[FrozenTrial]") -> Values:
        from optuna import samplers

        from dqn.seeding import integer

        return ask(samplers.RandomSampler(seed=integer(self.seed, "search", len(trials))), ranges, ())


@dataclass(frozen=True, kw_only=True)
class GridSampler(SearchSampler):
    """Every combination once; the values of the last key change fastest.

    Optuna's GridSampler needs Optuna's loop: asked trial by trial, it repeats some combinations.
    """

    def __call__(self, ranges: Ranges, trials: "Sequence[FrozenTrial]") -> Values:
        combinations = itertools.product(*(values_of(key, one) for key, one in ranges.items()))
        return dict(zip(ranges, next(itertools.islice(combinations, len(trials), None)), strict=True))

    def max_trials(self, ranges: Ranges) -> int | None:
        return math.prod(len(values_of(key, one)) for key, one in ranges.items())


@dataclass(frozen=True, kw_only=True)
class MedianPruner:
    """The median stopping rule of Golovin et al. (2017), "Google Vizier", section 3.2.1."""

    n_startup_trials: Natural
    n_warmup_iterations: Natural

    def __call__(self) -> "BasePruner":
        from optuna import pruners

        first = self.n_warmup_iterations + 1  # iterations are counted from 1, Optuna's steps from 0
        return pruners.MedianPruner(n_startup_trials=self.n_startup_trials, n_warmup_steps=first)


@dataclass(frozen=True, kw_only=True)
class NoPruner:
    """Stops no trial."""

    def __call__(self) -> "BasePruner":
        from optuna.pruners import NopPruner

        return NopPruner()
