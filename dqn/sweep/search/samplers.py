"""What proposes the values of trials and what ends them early: Optuna's own, made when they are needed."""

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

from annotated_types import Ge

from dqn.sweep.search.space import Ranges, Value, values_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

Natural = Annotated[int, Ge(0)]
"""As in dqn.types, which takes NumPy and with it time from every command: this module is a plugin's."""


class SearchSampler(Protocol):
    """Proposes values.

    A sampler is made for each trial anew, from its number, and otherwise only sees the trials before: so a
    search that was killed and continued proposes what it would have proposed.
    """

    def __call__(self, ranges: Ranges, number: int) -> "BaseSampler": ...

    def max_trials(self, ranges: Ranges) -> int | None:
        """Return how many trials there can be, None if any number.

        Raises:
            UserError: the sampler cannot do with a range.
        """
        ...


class Pruner(Protocol):
    """Judges by the returns that a trial reports which one is to end early."""

    def __call__(self) -> "BasePruner": ...


@dataclass(frozen=True, kw_only=True)
class TpeSampler:
    """Bergstra et al. (2011), "Algorithms for hyper-parameter optimization", over all keys together.

    A trial that is still at work counts as a bad one, so that those beside it try something else.
    """

    seed: Natural
    n_startup_trials: Natural

    def __call__(self, ranges: Ranges, number: int) -> "BaseSampler":
        from optuna import samplers

        from dqn.seeding import integer

        return samplers.TPESampler(
            seed=integer(self.seed, "search", number),
            n_startup_trials=self.n_startup_trials,
            multivariate=True,
            constant_liar=True,
        )

    def max_trials(self, ranges: Ranges) -> int | None:
        return None


@dataclass(frozen=True, kw_only=True)
class RandomSampler:
    """Bergstra and Bengio (2012), "Random search for hyper-parameter optimization"."""

    seed: Natural

    def __call__(self, ranges: Ranges, number: int) -> "BaseSampler":
        from optuna import samplers

        from dqn.seeding import integer

        return samplers.RandomSampler(seed=integer(self.seed, "search", number))

    def max_trials(self, ranges: Ranges) -> int | None:
        return None


@dataclass(frozen=True, kw_only=True)
class GridSampler:
    """Every combination once, the last key's values fastest.

    Optuna's own GridSampler is for its loop: asked trial by trial, it proposes some combinations twice.
    """

    def __call__(self, ranges: Ranges, number: int) -> "BaseSampler":
        from optuna import samplers
        from optuna.exceptions import ExperimentalWarning

        combination = next(itertools.islice(self._combinations(ranges), number, None))
        values = dict(zip(ranges, combination, strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return samplers.PartialFixedSampler(values, samplers.RandomSampler())  # nothing is left to draw

    def max_trials(self, ranges: Ranges) -> int | None:
        return sum(1 for _ in self._combinations(ranges))

    def _combinations(self, ranges: Ranges) -> Iterator[tuple[Value, ...]]:
        return itertools.product(*(values_of(key, one) for key, one in ranges.items()))


@dataclass(frozen=True, kw_only=True)
class MedianPruner:
    """The median stopping rule of Golovin et al. (2017), "Google Vizier", section 3.2.1."""

    n_startup_trials: Natural
    n_warmup_iterations: Natural

    def __call__(self) -> "BasePruner":
        from optuna import pruners

        first = self.n_warmup_iterations + 1  # they are counted from 1, Optuna's steps from 0
        return pruners.MedianPruner(n_startup_trials=self.n_startup_trials, n_warmup_steps=first)


@dataclass(frozen=True, kw_only=True)
class NoPruner:
    """Ends none."""

    def __call__(self) -> "BasePruner":
        from optuna.pruners import NopPruner

        return NopPruner()
