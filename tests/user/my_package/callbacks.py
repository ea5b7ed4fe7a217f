"""Custom callbacks: numbers of the network and of the environment, and an early end."""

from collections.abc import Mapping
from typing import Any

from dqn.runner import Callback, Training
from dqn.types import Episode, Floats, PositiveInt, Update


class WeightNorm(Callback):
    """Log the norm of each seed's parameters every `update_period` updates."""

    def __init__(self, *, update_period: PositiveInt) -> None:
        self.update_period = update_period

    def on_update(self, run: Training, update: Update) -> None:
        leaves = run.policy.state_dict().values()  # [K, ...] each
        run.log("mine/weight_norm", sum(leaf.flatten(1).square().sum(1) for leaf in leaves).sqrt())


class Longest(Callback):
    """Log the length of each episode as the environment says it, and the longest one so far."""

    def __init__(self) -> None:
        self.longest = 0

    def on_episode(self, run: Training, episode: Episode, info: Mapping[str, Any]) -> None:
        length = info["episode"]["l"]
        self.longest = max(self.longest, int(length))
        run.log("mine/length", length)
        run.log("mine/longest", self.longest)

    def state_dict(self) -> dict[str, Any]:
        return {"longest": self.longest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.longest = state["longest"]


class StopWhenSolved(Callback):
    """End the run once the mean evaluation return of every seed is at least `target`."""

    def __init__(self, *, target: float) -> None:
        self.target = target

    def on_evaluation(self, run: Training, returns: Floats) -> None:
        if returns.mean(-1).min() >= self.target:  # [K, episodes]
            run.stop(f"every seed reached {self.target}")
