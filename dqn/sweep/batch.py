"""Settings that no grid spans, trained as the jobs of one sweep."""

from collections.abc import Sequence
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra.types import HydraContext

from dqn.config.compose import compose
from dqn.sweep.job import SweepJob
from dqn.sweep.launcher import Processes


def run_settings(
    settings: Sequence[Sequence[str]], folder: Path, *, common: Sequence[str], n_jobs: int
) -> list[SweepJob]:
    """Train each setting in a process of its own, in a run folder below `folder`; return the ended jobs.

    An interrupted run goes on, a finished one is skipped, and no job's failure ends the others.

    Args:
        settings: the overrides of each run.
        folder: of the sweep.
        common: overrides of every run, which their folders' names leave out.
        n_jobs: at a time.

    Raises:
        KeyboardInterrupt: so were the jobs; they can go on.
    """
    master = compose([f"hydra.sweep.dir={folder}", *common])
    launcher = Processes(n_jobs=n_jobs)
    context = HydraContext(config_loader=master.loader, callbacks=Callbacks())
    launcher.setup(hydra_context=context, task_function=unused, config=master.config)
    jobs = launcher.launch([[*common, *setting] for setting in settings], initial_job_idx=0)
    return [job for job in jobs if isinstance(job, SweepJob)]


def unused(_: object) -> None:
    """Stand for the task function, which this package's launchers do not call."""
