"""Callbacks, a wrapper whose info they read, and a tracker, for configurations of tests: `hooked.NAME`."""

import collections
import enum
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from dqn.runner import Callback, Training
from dqn.tracking.trackers import Tracker
from dqn.types import Episode, Floats, NonNegativeInt, Update


class Informed(gymnasium.Wrapper):
    """Gives the number of steps, and something that cannot be pickled, in one dict that each reset clears."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.info: dict[str, Any] = {}

    def reset(self, **arguments: Any) -> Any:
        obs, _ = self.env.reset(**arguments)
        self.info.clear()
        self.count = 0
        return obs, self.info

    def step(self, action: Any) -> Any:
        *step, _ = self.env.step(action)
        self.count += 1
        self.info |= {"steps": self.count, "function": lambda: None, "error": Fragile(1, 2)}
        return *step, self.info


class Recorder(Callback):
    """Counts the calls of its hooks, logs in all that can, and keeps sums in its state."""

    def __init__(self, *, update_period: NonNegativeInt = 3, factor: float = 1.0) -> None:
        self.update_period, self.factor = update_period, factor
        self.calls: dict[str, int] = collections.Counter()
        self.losses = np.zeros(1)
        self.seen: list[set[str]] = []
        """Keys of the infos, which are not in the state."""

    def count(self, hook: str) -> int:
        self.calls[hook] += 1
        return self.calls[hook]

    def on_start(self, run: Training) -> None:
        self.started_at = run.tick

    def on_episode(self, run: Training, episode: Episode, info: Mapping[str, Any]) -> None:
        run.log("mine/episodes", self.count("episode"))
        if "steps" in info:
            run.log("mine/steps", -1)
            run.log("mine/steps", info["steps"])  # the last one counts
        self.seen.append(set(info))

    def on_update(self, run: Training, update: Update) -> None:
        self.losses = np.asarray(self.losses) + update.loss.mean()
        run.log("mine/loss", update.loss)
        run.log("mine/losses", self.losses.sum())
        self.count("update")

    def on_evaluation(self, run: Training, returns: Floats) -> None:
        run.log("mine/best.return", returns.max(-1))
        self.count("evaluation")

    def on_iteration(self, run: Training) -> None:
        norms = [leaf.detach().flatten(1).norm(dim=-1) for leaf in run.policy.network.parameters()]
        run.log("mine/weight_norm", self.factor * sum(norms))
        run.log("mine/infinite", np.inf)
        run.log("mine/huge", 1e101)
        self.count("iteration")

    def on_end(self, run: Training, result: float | None) -> None:
        self.result = result

    def state_dict(self) -> dict[str, Any]:
        return {"calls": dict(self.calls), "losses": self.losses, "last": np.float32(1)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.calls.update(state["calls"])
        self.losses = state["losses"].numpy()


class Stops(Callback):
    """Stops the run after its second iteration."""

    def on_iteration(self, run: Training) -> None:
        if run.iteration == 2:
            run.stop("that was enough")


class Mode(enum.IntEnum):
    FAST = 1


class Name(str):
    """A text of another class."""


class Late(Callback):
    """Gets its first state in `on_start`, with values of other classes than Python's own."""

    def on_start(self, run: Training) -> None:
        if run.tick == 0:
            self.mode, self.name = Mode.FAST, Name("a")

    def state_dict(self) -> dict[str, Any]:
        return {"mode": self.mode, "name": self.name}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mode, self.name = state["mode"], state["name"]


class Fragile(Exception):
    """Can be pickled, but not loaded."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(a + b)


class Forgetful(Recorder):
    """Restores nothing."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Failing(Callback):
    """Fails in one hook."""

    update_period = 1

    def __init__(self, *, hook: str, call: str) -> None:
        def fail(run: Any = None, *arguments: Any) -> Any:
            return eval(call, {"run": run, "np": np, "set": set})

        fail.__name__ = hook
        setattr(self, hook, fail)


class Half(Callback):
    """Has a period that is no whole number."""

    update_period = 0.5  # type: ignore[assignment]


class Numbers(Tracker):
    """A custom tracker, which may fail."""

    def __init__(self, *, fails_in: str = "") -> None:
        self.fails_in, self.steps = fails_in, []

    def log(self, seed_index: int | None, lines: Any) -> None:
        self.steps += [line["step"] for line in lines]
        if self.fails_in == "log":
            raise KeyError("x")
