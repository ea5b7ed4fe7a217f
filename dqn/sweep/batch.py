"""Sweeps over settings that do not form a grid."""

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
    """Train each setting in a separate process and run folder below `folder`; return the jobs.

    Interrupted runs are resumed, finished ones are skipped, and a job that fails stops no other.

    Args:
        settings: the overrides of each run.
        folder: folder of the sweep.
        common: overrides of every run; the names of the run folders leave them out.
        n_jobs: number of jobs at a time.

    Raises:
        KeyboardInterrupt: the user interrupted the jobs; the same call resumes them.
    """
    master = compose([f"hydra.sweep.dir={folder}", *common], multirun=True)
    launcher = Processes(n_jobs=n_jobs)
    context = HydraContext(config_loader=master.loader, callbacks=Callbacks())
    launcher.setup(hydra_context=context, task_function=lambda _: None, config=master.config)
    return launcher.launch([[*common, *setting] for setting in settings], initial_job_idx=0)
