"""The jobs of a sweep, composed and checked before any of them starts."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict, read_write

from dqn.config.compose import CANNOT_COMPOSE
from dqn.config.preflight import folder_of, hydra_config, refuse_differences, resolved
from dqn.errors import UserError
from dqn.storage.folder import RunFolder
from dqn.sweep.job import SweepJob
from dqn.sweep.names import digest_of, fixed_keys, folder_name, folders_by_digest, parse_overrides, readable


class Planner:
    """Makes the jobs of a sweep.

    Args:
        master: the configuration of the sweep, with Hydra's node.
        loader: composes the configurations of the jobs.
    """

    def __init__(self, master: DictConfig, loader: ConfigLoader) -> None:
        self._master, self._loader = master, loader
        self.folder = folder_of(master, "hydra.sweep.dir")
        self._known = folders_by_digest(self.folder)
        """A job keeps its folder even if other keys are swept now."""
        params = master.hydra.sweeper.get("params")
        self._fixed = fixed_keys(parse_overrides(loader, params, master.hydra.overrides.task))

    def job(self, overrides: Sequence[str], number: int) -> SweepJob:
        """Return a job, already failed if its configuration is invalid; nothing is written."""
        job = SweepJob(overrides=list(overrides), working_dir=str(Path.cwd()))
        job.name = readable(overrides, self._fixed) or f"job {number}"
        job.task_name = self._master.hydra.job.name
        try:
            composed = self._loader.load_sweep_config(self._master, list(overrides))
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = number
            with hydra_config(composed):
                self._fill(job, composed)
        except (UserError, *CANNOT_COMPOSE) as error:
            job.fail(str(error))
        return job

    def _fill(self, job: SweepJob, composed: DictConfig) -> None:
        """Add the configuration and the folder after checking both."""
        from dqn.config.validate import check

        config = resolved(composed)
        report = check(config)
        report.raise_if_any()
        digest = digest_of(config)
        name = self._known.setdefault(digest, folder_name(readable(job.overrides or (), self._fixed), digest))
        with read_write(composed.hydra), open_dict(composed.hydra):
            composed.hydra.job.id = name
            name = str(folder_of(composed, "hydra.sweep.subdir"))
            folder = RunFolder(self.folder / name)
            composed.hydra.runtime.output_dir = str(folder.path)
        if folder.config_file.exists():
            refuse_differences(config, folder)
        job.name, job.folder, job.config, job.warnings = name, folder, config, report.warnings
        HydraConfig.instance().set_config(composed)  # makes a copy
        job.hydra_cfg = cast(DictConfig, copy.deepcopy(HydraConfig.instance().cfg))
        job.cfg = copy.deepcopy(composed)
        with read_write(job.cfg), open_dict(job.cfg):
            del job.cfg["hydra"]
