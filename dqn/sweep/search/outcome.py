"""The outcome of a search: its best settings, and their result on seeds that did not select them."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobStatus

from dqn.config.commands import beside_python, relative
from dqn.errors import UserError
from dqn.stats import summarize
from dqn.storage.durable_files import write_json
from dqn.storage.folder import State, seeds_of
from dqn.storage.metrics import final_scores
from dqn.sweep.job import SweepJob
from dqn.sweep.search.study import FOLDER, STUDY_FILE, describe, reason_of, settings, url

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

RECORD_FILE = "search.json"
SELECTION_BIAS = "the best of the trials, so biased upwards"


def best_of(study: "Study") -> "FrozenTrial | None":
    """Return the trial with the best result, None if no trial has finished."""
    from optuna.trial import TrialState

    return study.best_trial if study.get_trials(states=[TrialState.COMPLETE]) else None


def record_of(study: "Study", config: State, best: "FrozenTrial | None", fresh: SweepJob | None) -> State:
    """Return the content of search.json; `fresh` is the job of the best settings on fresh seeds."""
    record: State = {"best": None, "fresh": None, "trials": [trial_record(trial) for trial in study.trials]}
    if best is not None:
        record["best"] = trial_record(best) | {"seeds": list(seeds_of(config)), "note": SELECTION_BIAS}
    if fresh is not None and fresh.status == JobStatus.COMPLETED:
        seeds = seeds_of(fresh.config)
        scores = final_scores(fresh.run_folder, seeds)
        result, *interval = summarize(scores)
        record["fresh"] = {
            "folder": fresh.name,
            "result": result,
            "interval": interval,
            "scores": dict(zip(map(str, seeds), scores, strict=True)),
        }
    return record


def write_record(folder: Path, record: State) -> None:
    """Write search.json; log its path and the command that shows the study.

    Raises:
        UserError: the file cannot be written.
    """
    file = relative(folder / RECORD_FILE)
    try:
        write_json(file, record)
    except OSError as error:
        kept = f"all trials are kept in {STUDY_FILE}; run the same command to write {RECORD_FILE}"
        raise UserError(f"{file}: cannot be written ({error}); {kept}") from None
    log.info("  %s", file)
    log.info("  %s", dashboard(folder))


def trial_record(trial: "FrozenTrial") -> State:
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "result": trial.value if trial.state.name == "COMPLETE" else None,
        "settings": settings(trial),
        "folder": trial.user_attrs.get(FOLDER),
        "reason": reason_of(trial),
    }


def log_summary(record: State, best: "FrozenTrial | None") -> None:
    """Log the best settings and their results."""
    if best is None:
        log.info("no trial has finished")
        return
    log.info("best of %d trials, trial %d: %s", len(record["trials"]), best.number, describe(best))
    seeds, note = span(record["best"]["seeds"]), record["best"]["note"]
    log.info("  in the search, seeds %s: %.2f (%s)", seeds, best.value, note)
    if fresh := record["fresh"]:
        found = f"{fresh['result']:.2f}"
        if len(fresh["scores"]) > 1:
            low, high = fresh["interval"]
            found += f", 95 % interval {low:.2f} to {high:.2f}"
        log.info("  on the fresh seeds %s: %s", span(fresh["scores"]), found)


def span(seeds: Iterable[int | str]) -> str:
    """Return consecutive seeds as text: the first and the last."""
    first, *others = map(str, seeds)
    return f"{first} to {others[-1]}" if others else first


def dashboard(folder: Path) -> str:
    """Return the command that shows a search in a browser."""
    return f"{beside_python('optuna-dashboard')} {url(relative(folder))}"
