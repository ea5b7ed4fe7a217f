"""The run folder: its lock, its status and its configuration, in plain files."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import yaml

from dqn.errors import InUse, UserError, file_problem, one_line
from dqn.storage.durable_files import replace_file, write_json
from dqn.storage.flatten import entries
from dqn.storage.provenance import cpu_seconds
from dqn.storage.reader import is_plain, read_file

if TYPE_CHECKING:
    from dqn.storage.schema import Status

LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads plain data only. The loader in C, which not every PyYAML has, is ten times faster."""
MAX_DEPTH = 100
"""Greatest number of nested levels in a configuration."""
MAX_BYTES = 2**20
"""Largest configuration that is read; reading a megabyte of YAML takes a second."""
MAX_INTEGER = 10**300
"""Greatest integer in a configuration; Python refuses to print integers of thousands of digits."""

State = dict[str, Any]


class RunFolder:
    """A folder that holds one run.

    `.hydra/config.yaml` is its complete configuration, `status.json` records its progress and result,
    `checkpoint/` holds the state to resume from, and `seed=N/` has the metrics of seed N. A process that
    writes into the folder holds `.lock`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.config_file = self.path / ".hydra" / "config.yaml"
        self.status_file = self.path / "status.json"
        self._lock = filelock.FileLock(self.path / ".lock", thread_local=False)
        self._cpu_start: float | None = None
        """Value of `cpu_seconds` at which the run's count would be 0; None: CPU time is not counted."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock, and make the folder if it is missing.

        Raises:
            InUse: another process holds the lock.
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
        """Return whether a process holds the lock, without writing anything."""
        if not is_plain(self.path, ".lock"):
            return False
        try:
            with self._lock.acquire(timeout=0):
                return False
        except filelock.Timeout:
            return True
        except OSError:
            return False

    def status(self) -> "Status":
        """Return the status; "running" becomes "interrupted" if no process holds the lock."""
        status = self.stored_status()
        if status.get("state") == "running" and not self.in_use():
            status["state"] = "interrupted"
        return status

    def stored_status(self) -> "Status":
        """Return the status as stored, empty if it is missing or damaged."""
        try:
            content = read_file(self.path, "status.json")
            from dqn.storage.schema import Status, parsed  # imports pydantic

            return parsed(Status, content)
        except (OSError, ValueError):
            return {}

    def checkpoint_format(self) -> int | None:
        """Return the format of the checkpoint; None if there is none that can be read."""
        try:
            content = read_file(self.path, "checkpoint/manifest.json")
            from dqn.storage.schema import Format, parsed  # imports pydantic

            return parsed(Format, content)["format"]
        except (OSError, ValueError):
            return None

    def result(self) -> float:
        """Return the result of a finished run; NaN if it has none that is finite."""
        result = self.stored_status().get("result")
        return math.nan if result is None else result

    @property
    def is_active(self) -> bool:
        """Return whether this process has started to work on the run."""
        return self._cpu_start is not None

    def start_work(self) -> None:
        """Record CPU seconds in the status from now on, added to those it already records.

        Temporary files that killed processes left are removed; the lock is held.
        """
        for left in self.path.glob("status.json.*.tmp"):
            left.unlink()
        self._cpu_start = cpu_seconds() - self.stored_status().get("cpu_seconds", 0.0)

    def update_status(self, **values: Any) -> None:
        """Change some values of the status and keep the others."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        if self._cpu_start is not None:
            values["cpu_seconds"] = round(cpu_seconds() - self._cpu_start, 2)
        write_json(self.status_file, {"created": now, **self.stored_status(), **values, "updated": now})

    def write_config(self, config: State, overrides: list[str]) -> None:
        """Record the resolved configuration and the overrides that it comes from."""
        self.config_file.parent.mkdir(exist_ok=True)
        replace_file(self.config_file.with_name("overrides.yaml"), yaml.safe_dump(overrides))
        replace_file(self.config_file, yaml.safe_dump(config, sort_keys=False))

    def read_overrides(self) -> list[str]:
        """Return the recorded overrides; none if they are missing or damaged."""
        try:
            found = read_yaml(self.path, ".hydra/overrides.yaml")
        except (OSError, ValueError):
            return []
        return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else []

    def write_evaluation(self, evaluation: State) -> None:
        """Write evaluation.json.

        Raises:
            UserError: the file cannot be written.
        """
        try:
            write_json(self.path / "evaluation.json", evaluation)
        except OSError as error:
            problem = f"evaluation.json cannot be written ({error}); the results are complete"
            raise UserError(f"{self.path}: {problem}") from None

    def read_config(self) -> State:
        """Return the recorded configuration as plain data, without following tags, aliases or interpolations.

        Raises:
            UserError: the configuration is missing or is not plain data.
        """
        try:
            config = read_yaml(self.path, ".hydra/config.yaml")
        except OSError as error:
            problem = f"not a run folder, {self.config_file} cannot be read ({file_problem(error)})"
            raise UserError(f"{self.path}: {problem}") from None
        except ValueError as error:
            raise UserError(f"{self.config_file}: not plain YAML ({error})") from None
        if not isinstance(config, dict):
            raise UserError(f"{self.config_file}: not a configuration")
        for path, key, value in entries(config):
            if not isinstance(key, str | int) or not is_plain_value(value):
                text = "a huge number" if isinstance(value, int) else one_line(value)
                raise UserError(f"{self.config_file}: {one_line(path)}={text}: not plain data")
        return config


def is_plain_value(value: object) -> bool:
    """Return whether a value can be in a recorded configuration."""
    if isinstance(value, int):
        return abs(value) <= MAX_INTEGER
    return value is None or isinstance(value, str | float | list | dict)


def read_yaml(folder: Path, name: str) -> Any:
    """Return the content of a YAML file of a run folder.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not plain data.
    """
    content = read_file(folder, name, MAX_BYTES)
    try:
        text = content.decode()
        refuse_costly(text)
        return yaml.load(text, LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(one_line(str(error))) from None


def refuse_costly(text: str) -> None:
    """Raise ValueError for a YAML text that is costly to read for its length: aliases or great depth."""
    depth = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases, which no recorded configuration has")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:  # would overflow the stack of the loader in C
            raise ValueError(f"it has more than {MAX_DEPTH} levels")


def seeds_of(config: State) -> range:
    """Return the seeds of a run's configuration."""
    return range(config["seed"], config["seed"] + config["num_seeds"])
