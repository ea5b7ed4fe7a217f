"""The jobs of a sweep, composed and checked before any of them starts, and the names of their folders."""

import hashlib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from dqn.config.compose import CANNOT_COMPOSE
from dqn.config.preflight import continued, file_name, folder_of, hydra_config, resolved
from dqn.errors import UserError
from dqn.report.labels import distinct_ends
from dqn.storage.folder import RunFolder
from dqn.sweep.job import SweepJob

MAX_BYTES = 200
"""Longest folder name; file systems allow 255 bytes, and a file beside it may add an ending."""
DIGEST = 10
"""Hexadecimal digits of a digest: two of 1,000 jobs collide once in 2 million sweeps."""


class Planner:
    """Composes and checks the jobs of a sweep.

    Args:
        master: the configuration of the sweep, with Hydra's node.
        loader: composes the configurations of the jobs.
        shared: overrides that all jobs share, which their names leave out.
    """

    def __init__(self, master: DictConfig, loader: ConfigLoader, shared: Collection[str]) -> None:
        self._master, self._loader, self._shared = master, loader, shared
        self.folder = folder_of(master, "hydra.sweep.dir")
        self._known = folders_by_digest(self.folder)
        """A job keeps its folder even if other keys are swept now."""

    def plan(self, job: SweepJob, number: int) -> None:
        """Give a job its configuration and its folder, or let it fail if its overrides are invalid.

        Write nothing.
        """
        overrides = list(job.overrides or ())
        job.name = readable(overrides, self._shared) or f"job {number}"
        job.task_name, job.working_dir = self._master.hydra.job.name, str(Path.cwd())
        try:
            composed = self._loader.load_sweep_config(self._master, overrides)
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = number
            with hydra_config(composed):
                self._fill(job, composed)
        except (UserError, *CANNOT_COMPOSE) as error:
            job.fail(str(error))

    def _fill(self, job: SweepJob, composed: DictConfig) -> None:
        """Add the configuration and the folder after checking both."""
        from dqn.config.validate import check

        config = resolved(composed)
        report = check(config)
        report.raise_if_any()
        digest = digest_of(config)
        name = "_".join(filter(None, [readable(job.overrides or (), self._shared), digest]))
        with read_write(composed.hydra), open_dict(composed.hydra):
            composed.hydra.job.id = self._known.setdefault(digest, name)
            job.name = str(folder_of(composed, "hydra.sweep.subdir"))
            folder = RunFolder(self.folder / job.name)
            composed.hydra.runtime.output_dir = str(folder.path)
        if folder.config_file.exists():
            continued(config, folder)
        job.folder, job.config, job.warnings = folder, config, report.warnings
        job.hydra_cfg = composed
        job.cfg = OmegaConf.masked_copy(composed, [str(key) for key in config])


def readable(overrides: Sequence[str], shared: Collection[str]) -> str:
    """Return the overrides that not all jobs share, such as `lr=1e-3,seed=0`; "" if there are none."""
    pairs = [one.partition("=") for one in overrides if one not in shared and not one.startswith("~")]
    values = {key.lstrip("+"): value for key, _, value in pairs}
    names = shortened(list(values))
    text = ",".join(f"{names[key]}={file_name(value)}" for key, value in values.items())
    return text[: MAX_BYTES - DIGEST - 1].rstrip(",=.-_")


def shortened(keys: Sequence[str]) -> dict[str, str]:
    """Return for each dotted key the shortest ending that no other key has."""
    ends = distinct_ends({key: re.split(r"[./@:]", key) for key in keys})
    return {key: file_name(".".join(end)) for key, end in ends.items()}


def digest_of(config: dict[str, Any]) -> str:
    """Return the digest of a resolved configuration."""
    text = yaml.safe_dump(config, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST]


def folders_by_digest(sweep: Path) -> dict[str, str]:
    """Return the names of the job folders in a sweep's folder, by the digest at their end."""
    if not sweep.is_dir():
        return {}
    names = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    return {m[1]: name for name in names if (m := re.search(rf"(?:^|_)([0-9a-f]{{{DIGEST}}})$", name))}
