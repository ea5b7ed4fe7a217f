"""Write metrics.jsonl and TensorBoard events: a folder per seed, plus summaries over all seeds."""

import json
import math
import os
import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary

from dqn.errors import UserError, one_line
from dqn.state import assign
from dqn.stats import interquartile_mean
from dqn.storage.metrics import last_line
from dqn.storage.schema import LoggerState, LogState
from dqn.system import sync_folder
from dqn.tracking import tensorboard as board
from dqn.tracking.tensorboard import Events, check_size, cut, event_files
from dqn.types import Array, Episode, Floats, Position, Update

State = dict[str, Any]

GROUPS = ("train", "eval", "seeds", "time")
"""First parts of the program's tags."""
TAG = re.compile(r"[A-Za-z0-9_.-]{1,100}(/[A-Za-z0-9_.-]{1,100}){1,9}")
FLUSH_SECONDS = 10.0
"""Seconds between two writes within an iteration."""


class SeedLog:
    """Writes metrics.jsonl and the same numbers as TensorBoard events to the folder of one seed.

    A line has all values of one environment step, so no step has two lines.
    """

    def __init__(self, folder: Path, state: State, header: Sequence[Summary.Value] = ()) -> None:
        """Open the folder and cut off everything that was written after `state` was taken."""
        folder.mkdir(exist_ok=True)
        metrics = folder / "metrics.jsonl"
        metrics.touch()
        cut(metrics, state.get("metrics", 0))
        self._lines: list[dict[str, float]] = []
        self.events = Events(folder, state.get("events", {}), state.get("step", 0), header)
        self._metrics = metrics.open("ab")
        sync_folder(folder)

    def add(self, values: dict[str, float]) -> None:
        """Add values to the line of values["step"]; steps never decrease."""
        line = self.line_of(values["step"])
        if not line:
            self._lines.append(line)
        line.update(values)

    def line_of(self, step: float) -> dict[str, float]:
        """Return the latest line if it is of `step`, or an empty one."""
        return self._lines[-1] if self._lines and self._lines[-1]["step"] == step else {}

    def flush(self, keep: int = 0) -> None:
        """Write all lines except the `keep` latest ones, which may still grow.

        Values that are not finite are left out, because JSON cannot express them.
        """
        ready = self._lines[: len(self._lines) - keep]
        self._lines = self._lines[len(ready) :]
        for values in ready:
            line = {tag: x for tag, x in values.items() if math.isfinite(x)}
            self._metrics.write(json.dumps(line).encode() + b"\n")
            self.events.scalars(int(line["step"]), {tag: x for tag, x in line.items() if "/" in tag})
        self._metrics.flush()
        self.events.flush()

    def state_dict(self) -> LogState:
        """Write everything, make it durable and return the state from which `__init__` can continue."""
        self.flush()
        os.fsync(self._metrics.fileno())
        return {"metrics": self._metrics.tell(), **self.events.state_dict()}

    def close(self) -> None:
        try:
            self._metrics.close()
        finally:  # the first close writes what is buffered, which may fail
            self.events.close()


class Logger:
    """Writes the returns, losses and evaluations of all seeds, and the configuration for TensorBoard.

    Seed N logs to seed=N in the run folder, the statistics over several seeds to the folder itself.
    """

    def __init__(self, *, folder: Path, seeds: Sequence[int], config: State) -> None:
        self.folder, self.seeds, self._config = folder, seeds, config
        self.loss = np.full(len(seeds), np.nan)
        """The latest logged loss of each seed [K], for the progress bar; not in checkpoints."""
        self.custom_values: dict[str, Floats] = {}
        """The latest number of each seed [K] by custom tag, for the same."""
        self._sums = np.zeros((3, len(seeds)))
        self._counts = np.zeros(len(seeds), np.int64)
        self._logs: list[SeedLog] = []
        self._together: list[Events] = []
        """The statistics over all seeds; empty for a single seed."""
        self._flushed = time.monotonic()
        self._spread: dict[str, list[float]] = {}
        """Values of all seeds in this iteration, by tag."""

    def check(self, states: Sequence[LogState]) -> None:
        """Check the states that `files` returned at the last checkpoint.

        Raises:
            UserError: a file is shorter than it was.
            ValueError: the states are those of other seeds.
        """
        several = len(self.seeds) > 1
        if len(states) != len(self.seeds) + several:
            raise ValueError(f"{len(states)} states of files for {len(self.seeds)} seeds")
        folders = [*(self.folder / f"seed={seed}" for seed in self.seeds), self.folder]
        for folder, state in zip(folders, states, strict=False):
            for path in event_files(folder):
                check_size(path, state["events"].get(path.name, 0))
            if folder != self.folder:
                check_size(folder / "metrics.jsonl", state["metrics"])

    def latest(self, key: str, states: Sequence[LogState]) -> int:
        """Return the greatest value of "step" or "episode" that was written after `states`, 0 if none was."""
        sizes = (state["metrics"] for state in states[: len(self.seeds)])
        lines = [last_line(self.folder, *each) for each in zip(self.seeds, sizes, strict=False)]
        return int(max((line.get(key, 0) for line in lines), default=0))

    def open(self, at: Sequence[Position], states: Sequence[LogState] | None) -> None:
        """Open the files of all seeds.

        Args:
            at: the position of each seed.
            states: the states that `files` returned at the last checkpoint; None for a new run.
        """
        about = [board.layout(len(self.seeds)), board.config_text(self._config)]
        several = len(self.seeds) > 1
        group = "/".join(self.folder.absolute().parts[-2:])
        for k, seed in enumerate(self.seeds):
            state: State = {**states[k], "step": at[k].step} if states else {}
            header = [board.hparams(self._config, group), *([] if several else about)]
            self._logs.append(SeedLog(self.folder / f"seed={seed}", state, header))
        if several:
            sizes = states[-1]["events"] if states else {}
            self._together.append(Events(self.folder, sizes, mean_step(at), about))
            sync_folder(self.folder)

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

    def end_iteration(self, at: Sequence[Position], *, steps_per_second: float, returns: list[float]) -> None:
        """Log the speed of an iteration and the statistics over seeds of evaluation and training returns."""
        for k in range(len(self.seeds)):
            self._add(k, at[k], {"time/steps_per_second": steps_per_second})
        self._spread["train/return"] = returns
        for events in self._together:
            events.scalars(mean_step(at), spread_scalars(self._spread))
        self._spread.clear()

    def histogram(self, at: Sequence[Position], tag: str, values: Array) -> None:
        """Log a histogram of each seed's values [K, ...]."""
        for k, log in enumerate(self._logs):
            log.flush()
            log.events.add(at[k].step, [board.histogram(tag, values[k])])

    def _flush_if_due(self) -> None:
        """Write all lines but the latest, so that an active run can be followed."""
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush(keep=1)

    def flush(self, keep: int = 0) -> None:
        """Write all lines except the `keep` latest ones of each seed."""
        for log in self._logs:
            log.flush(keep)
        for events in self._together:
            events.flush()
        self._flushed = time.monotonic()

    def files(self) -> list[LogState]:
        """Make all files durable and return their states, for `open`."""
        self.flush()
        return [file.state_dict() for file in self._open_files()]

    def close(self) -> None:
        with ExitStack() as stack:
            for file in self._open_files():
                stack.callback(file.close)

    def _open_files(self) -> list[SeedLog | Events]:
        return [*self._logs, *self._together]

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


def mean_step(at: Sequence[Position]) -> int:
    """Return the mean step of the seeds, at which the statistics over seeds are logged."""
    return sum(position.step for position in at) // len(at)


def spread_scalars(spread: dict[str, list[float]]) -> dict[str, float]:
    """Return the interquartile mean, the minimum and the maximum over seeds of each tag's values."""
    scalars: dict[str, float] = {}
    for tag, values in spread.items():
        if values and np.isfinite(values).all():
            numbers = (interquartile_mean(values), min(values), max(values))
            for statistic, number in zip(board.STATISTICS, numbers, strict=True):
                scalars[f"{board.SPREADS[tag]}_{statistic}"] = number
    return scalars
