"""What a run tells: metrics.jsonl and TensorBoard events, one folder per seed, and events of all together."""

import json
import math
import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary

from dqn.stats import interquartile_mean
from dqn.storage.durable_files import sync_folder
from dqn.tracking import tensorboard as board
from dqn.tracking.tensorboard import Events, cut
from dqn.types import Array, Bools, Floats, Integers, Update

State = dict[str, Any]

RECENT = 100
"""Episodes in the running mean return."""
FLUSH_SECONDS = 10.0


class SeedLog:
    """The folder of one seed: lines of metrics.jsonl and the same numbers as TensorBoard events.

    A line holds all that is known of one environment step, so no step has two lines.
    """

    def __init__(self, folder: Path, state: State, header: Sequence[Summary.Value] = ()) -> None:
        """Open the folder as it was when `state` was taken: whatever was written later is cut off."""
        folder.mkdir(exist_ok=True)
        metrics = folder / "metrics.jsonl"
        metrics.touch()
        cut(metrics, state.get("metrics", 0))
        self._lines: list[dict[str, float]] = []
        self.events = Events(folder, state.get("events", {}), state.get("step", 0), header)
        self._metrics = metrics.open("ab")
        sync_folder(folder)

    def add(self, values: dict[str, float]) -> None:
        """Add to the line of values["step"]; steps never go back."""
        line = self.line_of(values["step"])
        if not line:
            self._lines.append(line)
        line.update(values)

    def line_of(self, step: float) -> dict[str, float]:
        """Return the latest line if it is of `step`, else a new one."""
        return self._lines[-1] if self._lines and self._lines[-1]["step"] == step else {}

    def flush(self, keep: int = 0) -> None:
        """Write all lines but the `keep` latest ones, which may still grow.

        A value that is not finite is left out: JSON has no word for it.
        """
        ready = self._lines[: len(self._lines) - keep]
        self._lines = self._lines[len(ready) :]
        for values in ready:
            line = {tag: x for tag, x in values.items() if math.isfinite(x)}
            self._metrics.write(json.dumps(line).encode() + b"\n")
            self.events.scalars(int(line["step"]), {tag: x for tag, x in line.items() if "/" in tag})
        self._metrics.flush()
        self.events.flush()

    def state_dict(self) -> State:
        """Flush, make durable and return what `__init__` needs to go on from here."""
        self.flush()
        os.fsync(self._metrics.fileno())
        return {"metrics": self._metrics.tell(), "events": self.events.sizes()}

    def close(self) -> None:
        try:
            self._metrics.close()
        finally:  # closing writes what is left, which may fail
            self.events.close()


class Logger:
    """Counts episodes and steps, and logs returns, losses and evaluations of all seeds.

    The step of a transition of environment e (of E) is the number of steps its seed took before this step of
    all its environments, plus e + 1; so each transition has a number of its own.

    Args:
        folder: the run's; seed N logs to seed=N, and the spread over several seeds to the folder itself.
        seeds: the K seeds.
        num_envs: environments per seed, E.
        config: of the run, for TensorBoard.
    """

    def __init__(self, *, folder: Path, seeds: Sequence[int], num_envs: int, config: State) -> None:
        self.folder, self.seeds, self._config = folder, seeds, config
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
        self._together: Events | None = None
        """Of all seeds, where they are several."""
        self._flushed = time.monotonic()
        self._started, self._steps_before = 0.0, 0
        self._spread: dict[str, list[float]] = {}
        """What this iteration tells of the seeds, by tag."""

    @property
    def steps(self) -> Integers:
        """Return the environment steps of each seed [K]."""
        steps: Integers = self._transitions.sum(-1)
        return steps

    def open(self, states: Sequence[State] | None) -> None:
        """Open the folders, as `states` (from `files`) say or from nothing."""
        about = [board.layout(len(self.seeds)), board.config_text(self._config)]
        several = len(self.seeds) > 1
        group = "/".join(self.folder.absolute().parts[-2:])
        for k, seed in enumerate(self.seeds):
            state = states[k] | {"step": int(self.steps[k])} if states else {}
            header = [board.hparams(self._config, group), *([] if several else about)]
            self._logs.append(SeedLog(self.folder / f"seed={seed}", state, header))
        if several:
            sizes = states[-1]["events"] if states else {}
            self._together = Events(self.folder, sizes, self._mean_step(), about)
            sync_folder(self.folder)

    def _mean_step(self) -> int:
        return int(self.steps.mean())

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
            steps = self.steps.tolist()
            for k, e in zip(*(axis.tolist() for axis in ended.nonzero()), strict=True):
                self._episode(k, e, steps[k] + e + 1, epsilon)
        self._transitions += active

    def _episode(self, k: int, e: int, step: int, epsilon: float) -> None:
        self.episodes[k] += 1
        episode_return, transitions = float(self._returns[k, e]), int(self._transitions[k, e]) + 1
        length = transitions - int(self._begun[k, e])
        self._returns[k, e], self._begun[k, e] = 0, transitions
        self.recent[k].append(episode_return)
        line = self._line(k, step)
        line |= {"train/return": episode_return, "train/length": length, "train/epsilon": float(epsilon)}
        self._add(k, line)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush(keep=1)

    def _line(self, k: int, step: int) -> dict[str, float]:
        return {"step": step, "episode": int(self.episodes[k]), "update": self.updates}

    def _add(self, k: int, line: dict[str, float]) -> None:
        """Add a line with the means of the updates since this seed's previous one."""
        if self._counts[k] and "train/loss" not in self._logs[k].line_of(line["step"]):
            means = (self._sums[:, k] / self._counts[k]).tolist()
            line |= dict(zip(("train/loss", "train/q", "train/grad_norm"), means, strict=True))
            self.loss[k] = means[0]
            self._sums[:, k] = 0
            self._counts[k] = 0
        self._logs[k].add(line)

    def update(self, update: Update) -> None:
        """Count one update of all seeds."""
        self.updates += 1
        self._sums += update.loss, update.q, update.grad_norm
        self._counts += 1

    def evaluated(self, returns: Array) -> None:
        """Log the returns [K, episodes] of an evaluation at the present step."""
        self.keep_evaluation(returns)
        self._spread["eval/return"] = returns.mean(-1).tolist()
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
        self._spread |= {"train/return": self.recent_returns()}
        if self._together is not None:
            self._together.scalars(self._mean_step(), spread_scalars(self._spread))
        self._spread.clear()
        return rate

    def histogram(self, tag: str, values: Array) -> None:
        """Log a histogram of each seed's values [K, ...] at the end of an iteration."""
        for k, log in enumerate(self._logs):
            log.flush()
            log.events.add(int(self.steps[k]), [board.histogram(tag, values[k])])

    def steps_per_second(self) -> float:
        """Return the environment steps of all seeds together per second of this iteration until now."""
        return (int(self.steps.sum()) - self._steps_before) / (time.perf_counter() - self._started)

    def _flush(self, keep: int = 0) -> None:
        for log in self._logs:
            log.flush(keep)
        if self._together is not None:
            self._together.flush()
        self._flushed = time.monotonic()

    def recent_returns(self) -> list[float]:
        """Return each seed's mean return of its latest episodes; seeds without any are left out."""
        return [float(np.mean(returns)) for returns in self.recent if returns]

    def files(self) -> list[State]:
        """Make all files durable and return their states, for `open`."""
        self._flush()
        states = [log.state_dict() for log in self._logs]
        return states if self._together is None else [*states, {"events": self._together.sizes()}]

    def close(self) -> None:
        with ExitStack() as stack:
            for log in self._logs:
                stack.callback(log.close)
            if self._together is not None:
                stack.callback(self._together.close)

    def state_dict(self) -> State:
        return {
            "transitions": self._transitions.tolist(),
            "episodes": self.episodes.tolist(),
            "updates": self.updates,
            "recent": [list(returns) for returns in self.recent],
            "evaluation": self.evaluation,
            "sums": self._sums.tolist(),
            "counts": self._counts.tolist(),
        }

    def load_state_dict(self, state: State) -> None:
        self._transitions[:] = state["transitions"]
        self.episodes[:] = state["episodes"]
        self.updates = state["updates"]
        for mine, theirs in zip(self.recent, state["recent"], strict=True):
            mine.clear()
            mine.extend(theirs)
        self.evaluation = state["evaluation"]
        self._sums[:] = state["sums"]
        self._counts[:] = state["counts"]


def spread_scalars(spread: dict[str, list[float]]) -> dict[str, float]:
    """Return the interquartile mean, the lowest and the highest of what each tag has of the seeds."""
    scalars: dict[str, float] = {}
    for tag, values in spread.items():
        if values and np.isfinite(values).all():
            told = (interquartile_mean(values), min(values), max(values))
            scalars |= {
                f"{board.SPREADS[tag]}_{name}": x for name, x in zip(board.STATISTICS, told, strict=True)
            }
    return scalars
