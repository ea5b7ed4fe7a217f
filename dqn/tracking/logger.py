"""Write metrics.jsonl, one for each seed, and pass the same numbers and summaries over seeds to trackers."""

import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from dqn.errors import UserError, failure, one_line
from dqn.state import assign
from dqn.stats import interquartile_mean
from dqn.storage.metrics import last_line, metrics_file
from dqn.storage.schema import FilesState, LoggerState
from dqn.system import sync_folder
from dqn.tracking.files import check_size, cut
from dqn.tracking.tensorboard import SPREADS, STATISTICS
from dqn.tracking.trackers import Line, TrackedRun, Tracker
from dqn.tracking.trackers.tensorboard import mean_step
from dqn.types import Array, Episode, Floats, Position, Update

State = dict[str, Any]

GROUPS = ("train", "eval", "seeds", "time")
"""First parts of the program's tags."""
TAG = re.compile(r"[A-Za-z0-9_.-]{1,100}(/[A-Za-z0-9_.-]{1,100}){1,9}")
FLUSH_SECONDS = 10.0
"""Seconds between two writes within an iteration."""


class SeedLog:
    """Writes the metrics.jsonl of one seed.

    A line has all values of one environment step, so no step has two lines.
    """

    def __init__(self, path: Path, size: int) -> None:
        """Open the file and cut off everything beyond `size` bytes."""
        path.parent.mkdir(exist_ok=True)
        path.touch()
        cut(path, size)
        self._lines: list[dict[str, float]] = []
        self._metrics = path.open("ab")
        sync_folder(path.parent)

    def add(self, values: dict[str, float]) -> None:
        """Add values to the line of values["step"]; steps never decrease."""
        line = self.line_of(values["step"])
        if not line:
            self._lines.append(line)
        line.update(values)

    def line_of(self, step: float) -> dict[str, float]:
        """Return the latest line if it is of `step`, or an empty one."""
        return self._lines[-1] if self._lines and self._lines[-1]["step"] == step else {}

    def flush(self, keep: int = 0) -> Sequence[Line]:
        """Write all lines except the `keep` latest ones, which may still grow; return the written ones.

        Values that are not finite are left out, because JSON cannot express them.
        """
        ready = self._lines[: len(self._lines) - keep]
        self._lines = self._lines[len(ready) :]
        written = [{tag: x for tag, x in line.items() if math.isfinite(x)} for line in ready]
        self._metrics.writelines(json.dumps(line).encode() + b"\n" for line in written)
        self._metrics.flush()
        return written

    def size(self) -> int:
        """Make what was written durable and return its size in bytes."""
        os.fsync(self._metrics.fileno())
        return self._metrics.tell()

    def close(self) -> None:
        self._metrics.close()


class Logger:
    """Writes the returns, losses and evaluations of all seeds to metrics.jsonl, and passes them to trackers.

    Seed N logs to seed=N in the run folder. Statistics over several seeds go to the trackers alone.

    Args:
        folder: the run folder.
        seeds: the K seeds.
        config: the complete configuration.
        trackers: the trackers by name.
    """

    def __init__(
        self, *, folder: Path, seeds: Sequence[int], config: State, trackers: Mapping[str, Tracker]
    ) -> None:
        self.folder, self.seeds = folder, seeds
        self.loss = np.full(len(seeds), np.nan)
        """The latest logged loss of each seed [K], for the progress bar; not in checkpoints."""
        self.custom_values: dict[str, Floats] = {}
        """The latest number of each seed [K] by custom tag, for the same."""
        self._trackers = trackers
        self._opened: dict[str, Tracker] = {}
        self._run = TrackedRun(folder, seeds, config)
        self._sums = np.zeros((3, len(seeds)))
        self._counts = np.zeros(len(seeds), np.int64)
        self._logs: list[SeedLog] = []
        self._flushed = time.monotonic()
        self._spread: dict[str, list[float]] = {}
        """Values of all seeds in this iteration, by tag."""

    def check(self, files: FilesState) -> None:
        """Check what `files` returned at the last checkpoint.

        Raises:
            UserError: a file is shorter than it was.
            ValueError: the states are those of other seeds or trackers.
        """
        if files["trackers"].keys() != self._trackers.keys():
            raise ValueError(f"trackers {list(files['trackers'])} instead of {list(self._trackers)}")
        for seed, size in zip(self.seeds, files["metrics"], strict=True):
            check_size(self.folder / metrics_file(seed), size)
        for name, tracker in self._trackers.items():
            tracker.check(self._run, files["trackers"][name])

    def latest(self, key: str, files: FilesState | None) -> int:
        """Return the greatest value of "step" or "episode" that was written after `files`, 0 if none was."""
        sizes = files["metrics"] if files else []
        lines = [last_line(self.folder, *each) for each in zip(self.seeds, sizes, strict=False)]
        return int(max((line.get(key, 0) for line in lines), default=0))

    def open(self, at: Sequence[Position], files: FilesState | None) -> None:
        """Open the files of all seeds, and the trackers.

        Args:
            at: the position of each seed.
            files: what `files` returned at the last checkpoint; None for a new run.
        """
        sizes = files["metrics"] if files else [0] * len(self.seeds)
        for seed, size in zip(self.seeds, sizes, strict=True):
            self._logs.append(SeedLog(self.folder / metrics_file(seed), size))
        for name, tracker in self._trackers.items():
            self._call(name, tracker.open, self._run, at, files["trackers"][name] if files else None)
            self._opened[name] = tracker

    def _each(self, method: str, *arguments: Any) -> dict[str, Any]:
        """Call a method of every tracker; return the results by name."""
        return {
            name: self._call(name, getattr(tracker, method), *arguments)
            for name, tracker in self._opened.items()
        }

    @staticmethod
    def _call(name: str, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except (OSError, UserError):
            raise
        except Exception as error:
            raise failure(f"tracker.{name} failed in {method.__name__}", error) from None

    def episode(self, episode: Episode, epsilon: float) -> None:
        """Log an episode."""
        returns = {"train/return": episode.episode_return, "train/length": episode.length}
        self._add(episode.seed_index, episode.at, returns | {"train/epsilon": float(epsilon)})
        self._flush_if_due()

    def custom(self, k: int, at: Position, tag: str, value: float) -> None:
        """Add a number of a callback to the line of a seed's position, and change nothing else in it."""
        log = self._logs[k]
        log.add(({"step": at.step} if log.line_of(at.step) else at._asdict()) | {tag: value})
        self.custom_values.setdefault(tag, np.full(len(self.seeds), np.nan))[k] = value
        self._flush_if_due()

    def _add(self, k: int, at: Position, values: dict[str, float]) -> None:
        """Add values to a line of a seed, with the means over the updates since its previous line."""
        line = at._asdict() | values
        if self._counts[k] and "train/loss" not in self._logs[k].line_of(at.step):
            means = (self._sums[:, k] / self._counts[k]).tolist()
            line |= dict(zip(("train/loss", "train/q", "train/grad_norm"), means, strict=True))
            self.loss[k] = means[0]
            self._sums[:, k] = self._counts[k] = 0
        self._logs[k].add(line)

    def update(self, update: Update) -> None:
        """Add the results of one update of all seeds to the means in the next line."""
        self._sums += update.loss, update.q, update.grad_norm
        self._counts += 1

    def evaluated(self, at: Sequence[Position], returns: Array) -> None:
        """Log the returns [K, episodes] of an evaluation."""
        means = returns.mean(-1).tolist()
        self._spread["eval/return"] = means
        for k, mean in enumerate(means):
            self._add(k, at[k], {"eval/return": mean})

    def final_evaluation(self, at: Sequence[Position], returns: Array) -> None:
        """Pass the returns [K, episodes] of a finished run to the trackers, but not to metrics.jsonl.

        It comes after the last checkpoint, so a tracker that cuts off what came later has the same numbers of
        an extended run as of one that had the larger total from the start.
        """
        means = returns.mean(-1).tolist()
        for k, mean in enumerate(means):
            if math.isfinite(mean):
                self._each("log", k, [at[k]._asdict() | {"eval/return": mean}])
        if len(self.seeds) > 1:
            self._each("log", None, [{"step": mean_step(at), **spread_scalars({"eval/return": means})}])
        self._each("flush")

    def end_iteration(self, at: Sequence[Position], *, steps_per_second: float, returns: list[float]) -> None:
        """Log the speed of an iteration and the statistics over seeds of evaluation and training returns."""
        for k in range(len(self.seeds)):
            self._add(k, at[k], {"time/steps_per_second": steps_per_second})
        self._spread["train/return"] = returns
        if len(self.seeds) > 1:
            line = {"step": mean_step(at), **spread_scalars(self._spread)}
            self._each("log", None, [line])
        self._spread.clear()

    def histogram(self, at: Sequence[Position], tag: str, values: Array) -> None:
        """Log a histogram of each seed's values [K, ...]."""
        self.flush()
        for k, position in enumerate(at):
            self._each("histogram", k, position.step, tag, values[k])

    def _flush_if_due(self) -> None:
        """Write all lines but the latest, so that an active run can be followed."""
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush(keep=1)

    def flush(self, keep: int = 0) -> None:
        """Write all lines except the `keep` latest ones of each seed."""
        for k, log in enumerate(self._logs):
            if lines := log.flush(keep):
                self._each("log", k, lines)
        self._each("flush")
        self._flushed = time.monotonic()

    def files(self) -> FilesState:
        """Make all files durable and return the state from which `open` can continue."""
        self.flush()
        return {"metrics": [log.size() for log in self._logs], "trackers": self._each("state_dict")}

    def saved(self) -> None:
        """Inform the trackers that a checkpoint was written."""
        self._each("saved")

    def end(self, result: float) -> None:
        """Pass the result to the trackers."""
        self._each("end", result)

    def close(self) -> None:
        with ExitStack() as stack:
            for tracker in self._opened.values():
                stack.callback(tracker.close)
            for log in self._logs:
                stack.callback(log.close)

    def state_dict(self) -> LoggerState:
        return {"sums": self._sums.tolist(), "counts": self._counts.tolist()}

    def load_state_dict(self, state: LoggerState) -> None:
        assign(self._sums, state["sums"])
        assign(self._counts, state["counts"])


def check_tag(tag: str) -> None:
    """Raise UserError unless a callback may log numbers under this tag."""
    if not isinstance(tag, str) or not TAG.fullmatch(tag):
        should = "GROUP/NAME of letters, digits, _, . and -, such as mine/weight_norm"
        raise UserError(f"the tag {one_line(repr(tag))} should be {should}")
    group, _, name = tag.partition("/")
    if group in GROUPS:
        taken = f"the groups {', '.join(GROUPS)} are the program's"
        raise UserError(f"the tag {tag!r} is not free: {taken}; choose another group, such as mine/{name}")


def spread_scalars(spread: dict[str, list[float]]) -> dict[str, float]:
    """Return the interquartile mean, the minimum and the maximum over seeds of each tag's values."""
    scalars: dict[str, float] = {}
    for tag, values in spread.items():
        if values and np.isfinite(values).all():
            numbers = (interquartile_mean(values), min(values), max(values))
            for statistic, number in zip(STATISTICS, numbers, strict=True):
                scalars[f"{SPREADS[tag]}_{statistic}"] = number
    return scalars
