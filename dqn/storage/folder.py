"""The run folder: its lock, its status, its configuration. Reads and writes plain files, no torch."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import yaml

from dqn.errors import InUse, UserError
from dqn.storage.durable_files import replace_file
from dqn.storage.provenance import cpu_seconds

LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads plain data only; the one in C, where PyYAML has it, is ten times faster."""


MAX_DEPTH = 100
"""Levels of a configuration."""


State = dict[str, Any]


class RunFolder:
    """A folder that holds one run.

    `.hydra/config.yaml` is its complete configuration, `status.json` says how far it is, `checkpoint/` lets
    it go on, and `seed=N/` holds the metrics of seed N. Whoever writes into it holds `.lock`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.config_file = self.path / ".hydra" / "config.yaml"
        self.status_file = self.path / "status.json"
        self._lock = filelock.FileLock(self.path / ".lock", thread_local=False)
        self._cpu_start: float | None = None
        """What `cpu_seconds` would have been when this run's own count was 0; None: it is not counted."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock; the folder is made if it is missing.

        Raises:
            InUse: another process holds it.
            UserError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise InUse(f"{self.path}: in use by another process") from None
        except (OSError, NotImplementedError) as error:
            raise UserError(f"{self.path}: cannot be written ({error})") from None
        try:
            yield
        finally:
            self._lock.release()

    def in_use(self) -> bool:
        """Return whether a living process holds the lock; nothing is written to find out."""
        if not (self.path / ".lock").exists():
            return False
        try:
            with self._lock.acquire(timeout=0):
                return False
        except filelock.Timeout:
            return True
        except OSError:
            return False

    def status(self) -> State:
        """Return the status; without a living process a "running" one is "interrupted"."""
        status = self.stored_status()
        if status.get("state") == "running" and not self.in_use():
            status["state"] = "interrupted"
        return status

    def stored_status(self) -> State:
        try:
            status = json.loads(self.status_file.read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        return status if isinstance(status, dict) else {}

    def count_cpu(self) -> None:
        """Let the status tell the CPU seconds of the run, from now on and on top of those it tells of."""
        before = self.stored_status().get("cpu_seconds")
        self._cpu_start = cpu_seconds() - (before if isinstance(before, int | float) else 0.0)

    def update_status(self, **values: Any) -> None:
        """Change some of the status and leave the rest."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        if self._cpu_start is not None:
            values["cpu_seconds"] = round(cpu_seconds() - self._cpu_start, 2)
        status = {"created": now} | self.stored_status() | values | {"updated": now}
        replace_file(self.status_file, json.dumps(status, indent=2) + "\n")

    def write_config(self, config: State, overrides: list[str]) -> None:
        """Record the resolved configuration and the words of the command that gave it."""
        self.config_file.parent.mkdir(exist_ok=True)
        replace_file(self.config_file.with_name("overrides.yaml"), yaml.safe_dump(overrides))
        replace_file(self.config_file, yaml.safe_dump(config, sort_keys=False))

    def write_evaluation(self, evaluation: State) -> None:
        """Write evaluation.json.

        Raises:
            UserError: it cannot be written.
        """
        try:
            replace_file(self.path / "evaluation.json", json.dumps(evaluation, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"{self.path}: evaluation.json cannot be written ({error})") from None

    def read_config(self) -> State:
        """Return the recorded configuration as plain data; no tag, alias or interpolation is followed.

        Raises:
            UserError: there is none, or it is not plain data.
        """
        try:
            text = self.config_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"{self.path}: not a run folder, {self.config_file} cannot be read ({reason})"
            ) from None
        try:
            if trouble := excess(text):
                raise UserError(f"{self.config_file}: has {trouble}; a run's own has none")
            config = yaml.load(text, LOADER)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{self.config_file}: not plain YAML ({reason})") from None
        if not isinstance(config, dict):
            raise UserError(f"{self.config_file}: not a configuration")
        return config


def excess(text: str) -> str | None:
    """Return what a YAML text has that costs its reader more than its length: aliases, or great depth."""
    depth = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            return "YAML aliases"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:  # the loader in C would overflow the stack
            return f"more than {MAX_DEPTH} levels"
    return None
