"""What a run tells: metrics.jsonl and TensorBoard events, one folder per seed."""

import json
import math
import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from dqn.errors import UserError
from dqn.files import sync_folder
from dqn.types import Array, Bools, Floats, Integers, Update

RECENT = 100
"""Episodes in the running mean return."""
FLUSH_SECONDS = 10.0


class SeedLog:
    """The folder of one seed: lines of metrics.jsonl and the same numbers as TensorBoard events.

    A line holds all that is known of one environment step, so no step has two lines.
    """

    def __init__(self, folder: Path, state: dict[str, Any]) -> None:
        """Open the folder as it was when `state` was taken: whatever was written later is cut off."""
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._earlier: dict[str, int] = dict(state.get("events", {}))
        metrics = folder / "metrics.jsonl"
        metrics.touch()
        cut(metrics, state.get("metrics", 0))
        for path in folder.glob("events.out.tfevents.*"):
            cut(path, self._earlier.get(path.name, 0))  # a TensorBoard would stay with a file that is gone
        self._lines: list[dict[str, float]] = []
        self._metrics = metrics.open("ab")
        self._events, self._writer = self._open_events(state.get("step", 0))
        sync_folder(folder)

    def _open_events(self, step: int) -> tuple[IO[bytes], RecordWriter]:
        stem = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        file = (self.folder / stem).open("xb")
        writer = RecordWriter(file)
        writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        # a TensorBoard that has seen what was cut off drops it
        start = SessionLog(status=SessionLog.START)
        writer.write(Event(wall_time=time.time(), step=step + 1, session_log=start).SerializeToString())
        return file, writer

    def add(self, values: dict[str, float]) -> None:
        """Add to the line of values["step"]; steps never go back."""
        if self._lines and self._lines[-1]["step"] == values["step"]:
            self._lines[-1].update(values)
        else:
            self._lines.append(values)

    def flush(self, keep: int = 0) -> None:
        """Write all lines but the `keep` latest ones, which may still grow.

        A value that is not finite is left out: JSON has no word for it.
        """
        ready = self._lines[: len(self._lines) - keep]
        self._lines = self._lines[len(ready) :]
        now = time.time()
        for values in ready:
            line = {tag: x for tag, x in values.items() if math.isfinite(x)}
            self._metrics.write(json.dumps(line).encode() + b"\n")
            scalars = [Summary.Value(tag=tag, simple_value=x) for tag, x in line.items() if "/" in tag]
            event = Event(wall_time=now, step=int(line["step"]), summary=Summary(value=scalars))
            self._writer.write(event.SerializeToString())
        self._metrics.flush()
        self._events.flush()

    def state_dict(self) -> dict[str, Any]:
        """Flush, make durable and return what `__init__` needs to go on from here."""
        self.flush()
        for file in (self._metrics, self._events):
            os.fsync(file.fileno())
        events = self._earlier | {Path(self._events.name).name: self._events.tell()}
        return {"metrics": self._metrics.tell(), "events": events}

    def close(self) -> None:
        try:
            self._metrics.close()
        finally:  # closing writes what is left, which may fail
            self._events.close()


class Logger:
    """Counts episodes and steps, and logs returns, losses and evaluations of all seeds.

    The step of a transition of environment e (of E) is the number of steps its seed took before this step of
    all its environments, plus e + 1; so each transition has a number of its own.

    Args:
        folder: the run's; seed N logs to seed=N.
        seeds: the K seeds.
        num_envs: environments per seed, E.
    """

    def __init__(self, *, folder: Path, seeds: Sequence[int], num_envs: int) -> None:
        self.folder, self.seeds = folder, seeds
        self.episodes = np.zeros(len(seeds), np.int64)
        self.updates = 0
        self.recent: list[deque[float]] = [deque(maxlen=RECENT) for _ in seeds]
        self.evaluation: dict[str, list[float]] | None = None
        """Returns of the latest evaluation's episodes, by seed."""
        self.loss = np.full(len(seeds), np.nan)
        """As it was last logged [K], for the eye: no checkpoint has it."""
        self._returns = np.zeros((len(seeds), num_envs))
        self._transitions = np.zeros((len(seeds), num_envs), np.int64)
        self._begun = np.zeros((len(seeds), num_envs), np.int64)
        """What `_transitions` was when the present episodes began."""
        self._sums = np.zeros((3, len(seeds)))
        self._counts = np.zeros(len(seeds), np.int64)
        self._logs: list[SeedLog] = []
        self._flushed = time.monotonic()
        self._started, self._steps_before = 0.0, 0

    @property
    def steps(self) -> Integers:
        """Return the environment steps of each seed [K]."""
        steps: Integers = self._transitions.sum(-1)
        return steps

    def open(self, states: Sequence[dict[str, Any]] | None) -> None:
        """Open each seed's folder, as `states` (from `files`) say or from nothing."""
        for k, seed in enumerate(self.seeds):
            state = states[k] | {"step": int(self.steps[k])} if states else {}
            self._logs.append(SeedLog(self.folder / f"seed={seed}", state))

    def start_iteration(self) -> None:
        """Forget the unfinished episodes: their environments are gone."""
        self._returns[:] = 0
        self._begun[:] = self._transitions
        self._started = time.perf_counter()
        self._steps_before = int(self.steps.sum())

    def transitions(self, *, raw_reward: Floats, active: Bools, ended: Bools, epsilon: float) -> None:
        """Count one step of all active environments [K, E] and log the episodes that ended with it."""
        self._returns += raw_reward
        if np.count_nonzero(ended):
            for k, e in np.argwhere(ended).tolist():
                self._episode(k, e, epsilon)
        self._transitions += active

    def _episode(self, k: int, e: int, epsilon: float) -> None:
        self.episodes[k] += 1
        self.recent[k].append(float(self._returns[k, e]))
        line = self._line(k, int(self.steps[k]) + int(e) + 1)
        transitions = int(self._transitions[k, e]) + 1
        length, self._begun[k, e] = transitions - int(self._begun[k, e]), transitions
        line |= {"train/return": float(self._returns[k, e]), "train/length": length}
        self._add(k, line | {"train/epsilon": float(epsilon)})
        self._returns[k, e] = 0
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush(keep=1)

    def _line(self, k: int, step: int) -> dict[str, float]:
        return {"step": step, "episode": int(self.episodes[k]), "update": self.updates}

    def _add(self, k: int, line: dict[str, float]) -> None:
        """Add a line with the means of the updates since this seed's previous one."""
        if self._counts[k]:
            means = (self._sums[:, k] / self._counts[k]).tolist()
            line |= dict(zip(("train/loss", "train/q", "train/grad_norm"), means, strict=True))
            self.loss[k] = means[0]
            self._sums[:, k] = 0
            self._counts[k] = 0
        self._logs[k].add(line)

    def update(self, update: Update) -> None:
        """Count one update of all seeds."""
        self.updates += 1
        self._sums += update
        self._counts += 1

    def evaluated(self, returns: Array) -> None:
        """Log the returns [K, episodes] of an evaluation at the present step."""
        self.keep_evaluation(returns)
        for k, mean in enumerate(returns.mean(-1).tolist()):
            self._add(k, self._line(k, int(self.steps[k])) | {"eval/return": mean})

    def keep_evaluation(self, returns: Array) -> None:
        """Remember the returns [K, episodes] as the latest evaluation's."""
        self.evaluation = {str(seed): returns[k].tolist() for k, seed in enumerate(self.seeds)}

    def end_iteration(self) -> float:
        """Log and return the steps per second of this iteration."""
        rate = self.steps_per_second()
        for k in range(len(self.seeds)):
            self._add(k, self._line(k, int(self.steps[k])) | {"time/steps_per_second": rate})
        return rate

    def steps_per_second(self) -> float:
        """Return the environment steps of all seeds together per second of this iteration until now."""
        return (int(self.steps.sum()) - self._steps_before) / (time.perf_counter() - self._started)

    def _flush(self, keep: int = 0) -> None:
        for log in self._logs:
            log.flush(keep)
        self._flushed = time.monotonic()

    def recent_returns(self) -> list[float]:
        """Return each seed's mean return of its latest episodes; seeds without any are left out."""
        return [float(np.mean(returns)) for returns in self.recent if returns]

    def files(self) -> list[dict[str, Any]]:
        """Make all files durable and return their states, for `open`."""
        self._flushed = time.monotonic()
        return [log.state_dict() for log in self._logs]

    def close(self) -> None:
        with ExitStack() as stack:
            for log in self._logs:
                stack.callback(log.close)

    def state_dict(self) -> dict[str, Any]:
        return {
            "transitions": self._transitions.tolist(),
            "episodes": self.episodes.tolist(),
            "updates": self.updates,
            "recent": [list(returns) for returns in self.recent],
            "evaluation": self.evaluation,
            "sums": self._sums.tolist(),
            "counts": self._counts.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._transitions[:] = state["transitions"]
        self.episodes[:] = state["episodes"]
        self.updates = state["updates"]
        for mine, theirs in zip(self.recent, state["recent"], strict=True):
            mine.clear()
            mine.extend(theirs)
        self.evaluation = state["evaluation"]
        self._sums[:] = state["sums"]
        self._counts[:] = state["counts"]


def cut(path: Path, size: int) -> None:
    """Truncate a file to `size` bytes.

    Raises:
        UserError: it has fewer.
    """
    if path.stat().st_size < size:
        raise UserError(f"{path}: damaged, the checkpoint follows {size} bytes of it")
    os.truncate(path, size)
