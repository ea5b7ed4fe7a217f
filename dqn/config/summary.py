"""The summary that is printed for a finished run."""

import math
from typing import Any

from dqn.config.commands import beside_python, command
from dqn.config.preflight import TOTALS
from dqn.config.trust import own_packages
from dqn.errors import printable
from dqn.stats import interquartile_mean
from dqn.storage.flatten import leaves
from dqn.storage.folder import RunFolder
from dqn.system import quoted


def summary(folder: RunFolder) -> list[str]:
    """Return lines about a finished run: its result, its folder and the commands to use it with."""
    status = folder.stored_status()
    lines = []
    progress, best = status.get("progress"), status.get("best")
    if progress and progress["updates"] == 0:
        lines.append("warning: no update was made; see runner.learning_starts and runner.train_period")
    kind = "evaluation" if status.get("evaluation") else "latest training"
    lines.append(f"finished: interquartile mean of the {kind} returns over seeds: {folder.result():.2f}")
    scores = [one["mean_return"] for one in (best["seeds"].values() if best else ())]
    if highest := [score for score in scores if score is not None]:
        about = "best periodic evaluation of each seed (selected, so biased upwards)"
        lines.append(f"{about}: interquartile mean {interquartile_mean(highest):.2f}")
    config = folder.read_config()
    path, trust = quoted(str(folder.path)), trusting(config)
    lines += [
        f"run folder: {folder.path}",
        f"  {beside_python('tensorboard')} --logdir {path}",
        f"  {command('evaluate')} {path} episodes=100{trust}",
    ]
    for key, total in leaves(config):
        if key in TOTALS and not ends_learning(config, total):
            lines.append(f"  {command('resume')} {path} {key}={2 * total}{trust}")
    return [printable(line) for line in lines]


def trusting(config: dict[str, Any]) -> str:
    """Return the options that make a command trust the custom packages of a run."""
    return "".join(f" --trust {quoted(name)}" for name in own_packages(config))


def ends_learning(config: dict[str, Any], total: int) -> bool:
    """Return whether the learning rate stays 0 after tick `total`."""
    schedule = config["agent"]["lr_schedule"]
    return bool(schedule.get("end") == 0 and schedule.get("duration", math.inf) <= total)
