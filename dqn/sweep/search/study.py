"""A search as Optuna's study, in a file of the sweep's folder that outlives every kill."""

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
"""The attribute of the study that says which search it is."""
WORDS, FOLDER, STOP_REASON, REASON, SECONDS = "words", "folder", "verdict", "reason", "seconds"
"""The attributes of a trial: of its job, why it is to end early, and why it ended and when."""


def require_optuna() -> None:
    """Raise UserError unless Optuna is installed, and let it log warnings only."""
    try:
        import optuna
    except ImportError:
        raise UserError(
            "hydra/sweeper=optuna needs Optuna, which the extra `search` brings:"
            ' pip install -c constraints.txt -e ".[search]"'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def url(folder: Path) -> str:
    """Return the address of the study in a folder, as Optuna's programs take it."""
    return f"sqlite:///{folder / STUDY_FILE}"


def open_storage(folder: Path) -> "RDBStorage":
    """Return what keeps the study of a folder.

    Raises:
        UserError: there is a file that does not.
    """
    from optuna.exceptions import OptunaError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return RDBStorage(url(folder))
    except (OptunaError, SQLAlchemyError, RuntimeError) as error:
        raise UserError(f"{folder / STUDY_FILE}: not the file of a search ({first_line(error)})") from None


def open_study(storage: "RDBStorage", folder: Path, space: SearchSpace, config: dict[str, Any]) -> "Study":
    """Return the study of a folder, a new one if there is none.

    Args:
        storage: of the folder.
        folder: of the sweep.
        space: what is searched.
        config: what is not: resolved, with any values for the keys of the space.

    Raises:
        UserError: there is one of another search.
    """
    import optuna
    from optuna.distributions import distribution_to_json

    about = {key: format_value(value) for key, value in leaves(config) if key not in space.ranges}
    about |= {key: distribution_to_json(one) for key, one in space.ranges.items()}
    study = optuna.create_study(study_name=NAME, storage=storage, direction="maximize", load_if_exists=True)
    before = study.user_attrs.get(ABOUT)
    if before is None:
        study.set_user_attr(ABOUT, about)
    elif before != about:
        raise UserError(describe_differences(folder, before, about))
    return study


def describe_differences(folder: Path, before: dict[str, str], now: dict[str, str]) -> str:
    """Return in what a stored search differs from this one."""
    changed = [
        f"{key}: {before.get(key, 'not searched')} there, {now.get(key, 'not searched')} here"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    advice = "its trials cannot be compared; another name=NAME makes a new search"
    return "\n  ".join([f"{folder}: another search ({advice}):", *changed])


def begun(study: "Study") -> list["FrozenTrial"]:
    """Return the trials in their order, without those that were killed before they were a job."""
    return [trial for trial in study.trials if WORDS in trial.user_attrs]


def reopened(study: "Study", storage: "RDBStorage", number: int) -> "Trial":
    """Return a stored trial as one that can report."""
    from optuna.trial import Trial

    study_id = storage.get_study_id_from_name(study.study_name)
    return Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))


def as_job(trial: "FrozenTrial", folder: Path) -> SweepJob:
    """Return a stored trial of the search in `folder` as the job that it was."""
    from optuna.trial import TrialState

    attrs = trial.user_attrs
    job = SweepJob(overrides=attrs[WORDS], name=f"trial {trial.number}: {' '.join(swept(trial))}")
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
    """Return the words of a trial that the others have not."""
    words: Sequence[str] = trial.user_attrs[WORDS]
    return words[len(words) - len(trial.params) :]
