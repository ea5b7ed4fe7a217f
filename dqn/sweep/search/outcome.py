"""What a search has found: the best settings, and what they reach on seeds that did not choose them."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobStatus

from dqn.config.commands import beside_python
from dqn.seeding import stream
from dqn.stats import estimate
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

RECORD_FILE = "search.json"
SELECTION_BIAS = "the best of the trials, so biased upwards"

SearchRecord = dict[str, Any]


def best_of(study: "Study") -> "FrozenTrial | None":
    """Return the trial with the best result, None if none has finished."""
    from optuna.trial import TrialState

    return study.best_trial if study.get_trials(states=[TrialState.COMPLETE]) else None


def plan_fresh_run(
    best: "FrozenTrial", planner: Planner, config: dict[str, Any], fresh_seeds: int
) -> SweepJob:
    """Return the job of the best settings on as many seeds that follow those of the search.

    Args:
        best: the trial.
        planner: makes the job.
        config: of the search.
        fresh_seeds: their number.
    """
    words = [*best.user_attrs[WORDS], f"seed={seeds_of(config).stop}", f"num_seeds={fresh_seeds}"]
    return planner.job(words, best.number)


def write_record(
    folder: Path,
    study: "Study",
    config: dict[str, Any],
    best: "FrozenTrial | None",
    fresh: SweepJob | None,
) -> SearchRecord:
    """Write the record of a search into its folder, and return it.

    Args:
        folder: of the search.
        study: of the search.
        config: of the search.
        best: the best trial, None if none has finished.
        fresh: the job of its settings on fresh seeds, None if that was not wanted.
    """
    record: SearchRecord = {"best": None, "fresh": None, "trials": [as_data(trial) for trial in begun(study)]}
    if best is not None:
        record["best"] = as_data(best) | {"seeds": list(seeds_of(config)), "note": SELECTION_BIAS}
    if fresh is not None and fresh.status == JobStatus.COMPLETED:
        seeds = seeds_of(fresh.config)
        scores = final_scores(fresh.run_folder, seeds)
        result, *interval = estimate(scores, generator=stream(0, "search"))
        record["fresh"] = {
            "folder": str(fresh.run_folder.path.relative_to(folder)),
            "result": result,
            "interval": interval,
            "scores": dict(zip(map(str, seeds), scores, strict=True)),
        }
    replace_file(folder / RECORD_FILE, json.dumps(record, indent=2) + "\n")
    return record


def as_data(trial: "FrozenTrial") -> SearchRecord:
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


def log_summary(record: SearchRecord, best: "FrozenTrial | None", folder: Path) -> None:
    """Log the best settings, both of their results, and where to read on."""
    if best is None:
        log.info("no trial has finished")
        return
    log.info("best of %d trials, trial %d: %s", len(record["trials"]), best.number, " ".join(swept(best)))
    seeds, note = span(record["best"]["seeds"]), record["best"]["note"]
    log.info("  in the search, seeds %s: %.2f (%s)", seeds, best.value, note)
    if fresh := record["fresh"]:
        seeds, values = span(fresh["scores"]), (fresh["result"], *fresh["interval"])
        log.info("  again, on the fresh seeds %s: %.2f, 95 %% interval %.2f to %.2f", seeds, *values)
    log.info("  %s", relative(folder / RECORD_FILE))
    log.info("  %s", dashboard(folder))


def span(seeds: Iterable[int | str]) -> str:
    texts = [str(seed) for seed in seeds]
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"


def dashboard(folder: Path) -> str:
    """Return the command that shows a search in a browser."""
    return f"{beside_python('optuna-dashboard')} {url(relative(folder))}"
