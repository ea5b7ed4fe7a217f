"""Searches with jobs that do not train, so that trials cost no time."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands import Result, call
from helpers import TINY_STEPS

from dqn.storage.folder import RunFolder
from dqn.sweep.job import JobResult, JobSpec

SEARCH = ["-m", "hydra/sweeper=optuna", "hydra.sweep.dir=runs", "hydra.sweeper.report=false", *TINY_STEPS]
RANGE = "agent.lr=tag(log,interval(1e-5,1e-1))"

Config = dict[str, Any]


def search(*overrides: str) -> Result:
    return call("train", *SEARCH, *overrides)


def finish(folder: RunFolder, config: Config, score: float) -> None:
    """Write the folder of a finished run whose seeds' scores differ by one."""
    first, count = config["seed"], config["num_seeds"]
    scores = {str(first + k): [score + k - (count - 1) / 2] * 2 for k in range(count)}
    with folder.locked():
        folder.write_config(config, [])
        folder.update_status(state="finished", result=score, evaluation=scores)


class Cheap:
    """Starts jobs that have ended at once.

    Args:
        objective: returns the result of a configuration; ValueError fails the job, None kills it.
    """

    def __init__(self, objective: Callable[[Config], float | None]) -> None:
        self._objective = objective
        self.started: list[Config] = []
        self.signal = signal.SIGKILL
        """Signal that kills jobs."""

    def __call__(self, spec: JobSpec, env: dict[str, str], node: str) -> "Done":
        folder = RunFolder(spec.folder)
        self.started.append(spec.config)
        folder.path.mkdir(parents=True, exist_ok=True)
        try:
            score = self._objective(spec.config)
        except ValueError as error:
            folder.update_status(state="failed", error=str(error))
            return Done(JobResult(1))
        if score is not None:
            finish(folder, spec.config, score)
        return Done(JobResult(-self.signal if score is None else 0))


class Done:
    def __init__(self, end: JobResult) -> None:
        self._end = end

    def ended(self) -> JobResult:
        return self._end


class Slow:
    """Starts jobs that complete an iteration each time that `ended` is called.

    Args:
        returns: returns the episode return of each iteration of a configuration.
    """

    def __init__(self, returns: Callable[[Config], list[float]]) -> None:
        self._returns = returns
        self.jobs: list[JobSpec] = []

    def __call__(self, spec: JobSpec, env: dict[str, str], node: str) -> "Work":
        self.jobs.append(spec)
        return Work(spec, self._returns(spec.config))


class Work:
    def __init__(self, spec: JobSpec, returns: list[float]) -> None:
        self._folder, self._config, self._returns = RunFolder(spec.folder), spec.config, returns
        self._done = 0
        self._stopped = False
        self._folder.path.mkdir(parents=True, exist_ok=True)

    def ended(self) -> JobResult | None:
        if self._stopped:
            self._folder.update_status(state="interrupted")
            return JobResult(130)
        if self._done == len(self._returns):
            finish(self._folder, self._config, self._returns[-1])
            return JobResult(0)
        self._done += 1
        write_returns(self._folder.path, self._config, self._returns[: self._done])
        progress = {"unit": "episode", "iteration": self._done, "tick": self._done, "updates": 0}
        progress |= {"total": len(self._returns), "steps": [], "episodes": []}
        self._folder.update_status(state="running", progress=progress)
        return None

    def ask_to_stop(self) -> None:
        self._stopped = True


def write_returns(folder: Path, config: Config, returns: list[float], *, tag: str = "train/return") -> None:
    """Write metrics with one training episode, or one evaluation, in each iteration."""
    for k in range(config["num_seeds"]):
        lines = []
        for i, value in enumerate(returns, 1):
            lines.append({"step": 10 * i, "time/steps_per_second": 1.0, tag: value + k})
        path = folder / f"seed={config['seed'] + k}"
        path.mkdir(exist_ok=True)
        (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def record(folder: Path) -> Any:
    return json.loads((folder / "search.json").read_text())
