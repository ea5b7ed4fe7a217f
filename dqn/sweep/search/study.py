"""A search as an Optuna study, stored in a file of the sweep's folder so that it survives a kill."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqn.errors import UserError, first_line, format_value
from dqn.storage.flatten import leaves
from dqn.storage.folder import RunFolder
from dqn.sweep.job import SweepJob
from dqn.sweep.search.space import SearchSpace

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, Trial

NAME = "search"
STUDY_FILE = "search.db"
ABOUT = "about"
"""Attribute of the study: the searched ranges and all other values, which must not change."""
OVERRIDES, FOLDER, STOP_REASON, REASON, SECONDS = "words", "folder", "verdict", "reason", "seconds"
"""Attributes of a trial: its job, why to stop it early, why it has no result, and its duration. Their names
are in the files of existing searches."""


def require_optuna() -> None:
    """Raise UserError unless Optuna is installed; make it log only warnings."""
    try:
        import optuna
    except ImportError:
        raise UserError(
            "hydra/sweeper=optuna needs Optuna; install the extra `search`:"
            ' pip install -c constraints.txt -e ".[search]"'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def url(folder: Path) -> str:
    """Return the address of a folder's study for Optuna's programs."""
    return f"sqlite:///{folder / STUDY_FILE}"


def open_study(folder: Path, space: SearchSpace, config: dict[str, Any]) -> tuple["Study", "RDBStorage"]:
    """Return the study of a folder and its storage; create the study if there is none.

    The values of the resolved `config` that `space` does not vary are part of the study.

    Raises:
        UserError: the folder holds another search, or its file is not a study of Optuna.
    """
    import optuna
    from optuna.distributions import distribution_to_json
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = optuna.storages.RDBStorage(url(folder))
    except (optuna.exceptions.OptunaError, SQLAlchemyError, RuntimeError) as error:
        raise UserError(f"{folder / STUDY_FILE}: not a study of Optuna ({first_line(error)})") from None
    about = {key: format_value(value) for key, value in leaves(config) if key not in space.ranges}
    about |= {key: distribution_to_json(one) for key, one in space.ranges.items()}
    study = optuna.create_study(study_name=NAME, storage=storage, direction="maximize", load_if_exists=True)
    before = study.user_attrs.get(ABOUT)
    if before is None:
        study.set_user_attr(ABOUT, about)
    elif before != about:
        raise UserError(describe_differences(folder, before, about))
    return study, storage


def describe_differences(folder: Path, before: dict[str, str], now: dict[str, str]) -> str:
    """Return an error message that lists the differences between a stored search and this one."""
    changed = [
        f"{key}: {before.get(key, 'not searched')} there, {now.get(key, 'not searched')} here"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    advice = "trials of the two cannot be compared; give another name=NAME for a new search"
    return "\n  ".join([f"{folder}: holds another search ({advice}):", *changed])


def started(study: "Study") -> list["FrozenTrial"]:
    """Return the trials in order, without those that were killed before they had a job."""
    return [trial for trial in study.trials if OVERRIDES in trial.user_attrs]


def reopen(study: "Study", storage: "RDBStorage", number: int) -> "Trial":
    """Return a stored trial as one that accepts reports."""
    from optuna.trial import Trial

    study_id = storage.get_study_id_from_name(study.study_name)
    return Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))


def to_job(trial: "FrozenTrial", folder: Path) -> SweepJob:
    """Return a stored trial of the search in `folder` as a job that has ended."""
    from optuna.trial import TrialState

    attrs = trial.user_attrs
    job = SweepJob(overrides=attrs[OVERRIDES], name=f"trial {trial.number}: {' '.join(swept(trial))}")
    job.folder = RunFolder(folder / attrs[FOLDER]) if FOLDER in attrs else None
    job.seconds = attrs.get(SECONDS)
    if trial.state == TrialState.COMPLETE:
        assert trial.value is not None
        job.succeed("finished", trial.value)
    else:
        states = {TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        job.fail(attrs.get(REASON, ""), states.get(trial.state, "interrupted"))
    return job


def swept(trial: "FrozenTrial") -> Sequence[str]:
    """Return the overrides of a trial that are not common to all trials."""
    overrides: Sequence[str] = trial.user_attrs[OVERRIDES]
    return overrides[len(overrides) - len(trial.params) :]
