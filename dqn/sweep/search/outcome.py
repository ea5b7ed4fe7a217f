"""What a search has found: the best settings, and what they reach on seeds that did not choose them."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobStatus

from dqn.config.commands import beside_python
from dqn.seeding import stream
from dqn.stats import Estimate, estimate
from dqn.storage.durable_files import replace_file
from dqn.storage.metrics import final_scores
from dqn.sweep.job import SweepJob
from dqn.sweep.planner import Planner
from dqn.sweep.search.returns import seeds_of
from dqn.sweep.search.study import FOLDER, REASON, WORDS, begun, swept, url
from dqn.sweep.table import relative

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

FILE = "search.json"
SELECTED = "the best of the trials, so biased upwards"


def best_of(study: "Study") -> "FrozenTrial | None":
    """Return the trial with the best result, None if none has finished."""
    from optuna.trial import TrialState

    return study.best_trial if study.get_trials(states=[TrialState.COMPLETE]) else None


def run_again(best: "FrozenTrial", planner: Planner, config: dict[str, Any], fresh_seeds: int) -> SweepJob:
    """Return the job of the best settings on the seeds that follow those of the search.

    Args:
        best: the trial.
        planner: makes the job.
        config: of the search.
        fresh_seeds: how many.
    """
    words = [*best.user_attrs[WORDS], f"seed={seeds_of(config).stop}", f"num_seeds={fresh_seeds}"]
    return planner.job(words, best.number)


class Outcome:
    """What there is to tell at the end of a search.

    Args:
        study: of the search.
        config: of the search.
        best: the best trial, None if none has finished.
        again: its settings on fresh seeds, None if that was not wanted.
    """

    def __init__(
        self, study: "Study", config: dict[str, Any], best: "FrozenTrial | None", again: SweepJob | None
    ) -> None:
        self._trials, self._seeds, self._best = begun(study), seeds_of(config), best
        self._again = again if again is not None and again.status == JobStatus.COMPLETED else None
        self._scores: list[float] = []
        self._fresh: Estimate | None = None
        if self._again is not None and self._again.folder is not None:
            self._scores = final_scores(self._again.folder, seeds_of(self._again.config))
            self._fresh = estimate(self._scores, generator=stream(0, "search"))

    def write(self, folder: Path) -> None:
        """Write the record of the search into its folder."""
        trials = [told(trial) for trial in self._trials]
        record: dict[str, Any] = {"best": None, "fresh": None, "trials": trials}
        if self._best is not None:
            record["best"] = told(self._best) | {"seeds": list(self._seeds), "note": SELECTED}
        if self._again is not None and self._again.folder is not None and self._fresh is not None:
            record["fresh"] = {
                "folder": str(self._again.folder.path.relative_to(folder)),
                "result": self._fresh.value,
                "interval": [self._fresh.low, self._fresh.high],
                "scores": dict(zip(map(str, seeds_of(self._again.config)), self._scores, strict=True)),
            }
        replace_file(folder / FILE, json.dumps(record, indent=2) + "\n")

    def tell(self, folder: Path) -> None:
        """Print the best settings, both of their results, and what comes next."""
        if self._best is None:
            log.info("no trial has finished")
            return
        log.info(
            "best of %d trials, trial %d: %s", len(self._trials), self._best.number, settings(self._best)
        )
        log.info("  in the search, seeds %s: %.2f (%s)", span(self._seeds), self._best.value, SELECTED)
        if self._again is not None and self._fresh is not None:
            log.info(
                "  again, on the fresh seeds %s: %.2f, 95 %% interval %.2f to %.2f",
                span(seeds_of(self._again.config)),
                *self._fresh,
            )
        log.info("  %s", relative(folder / FILE))
        log.info("  %s", dashboard(folder))


def told(trial: "FrozenTrial") -> dict[str, Any]:
    """Return a trial as plain data."""
    attrs = trial.user_attrs
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "result": trial.value if trial.state.name == "COMPLETE" else None,
        "settings": dict(word.lstrip("+").split("=", 1) for word in swept(trial)),
        "folder": attrs.get(FOLDER),
        "reason": attrs.get(REASON),
    }


def settings(trial: "FrozenTrial") -> str:
    """Return what a trial has tried, as words of a command."""
    return " ".join(swept(trial))


def span(seeds: range) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


def dashboard(folder: Path) -> str:
    """Return the command that shows a search in a browser."""
    return f"{beside_python('optuna-dashboard')} {url(relative(folder))}"
