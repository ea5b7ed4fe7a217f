"""The summary that is printed for a finished run."""

import math
from typing import Any

from dqn.config.commands import beside_python, command, is_command
from dqn.config.preflight import TOTALS
from dqn.config.trust import own_packages
from dqn.errors import printable
from dqn.stats import interquartile_mean
from dqn.storage.flatten import leaves
from dqn.storage.folder import RunFolder
from dqn.storage.metrics import evaluations
from dqn.system import quoted


def summary(folder: RunFolder) -> list[str]:
    """Return lines about a finished run: its result, its folder and the commands to use it with."""
    status = folder.stored_status()
    lines = []
    progress, best = status.get("progress"), status.get("best")
    if progress and progress["updates"] == 0:
        lines.append("warning: no update was made; see runner.learning_starts and runner.train_period")
    config = folder.read_config()
    kind = "evaluation" if status.get("evaluation") else "training"
    lines.append(f"finished: mean {kind} return {folder.result():.2f} ({over(config['num_seeds'])})")
    if progress and (reason := status.get("stopped")):
        about = f"ended early after {progress['unit']} {progress['tick']} of {progress['total']}"
        lines.append(f"{about}; a callback stopped it: {reason}")
    scores = [one["mean_return"] for one in (best["seeds"].values() if best else ())]
    if highest := [score for score in scores if score is not None]:
        value, count = interquartile_mean(highest), evaluations(folder.path, config["seed"])
        which, picked = ("best ", f"; optimistic: picked as the best of {count}") if count > 1 else ("", "")
        lines.append(f"{which}evaluation during training {value:.2f} ({over(len(highest))}{picked})")
    path, trust = quoted(str(folder.path)), trusting(config)
    lines += [
        f"run folder: {folder.path}",
        f"  {beside_python('tensorboard')} --logdir {path}",
        f"  {command('evaluate')} {path} episodes=100{trust}",
    ]
    for key, total in leaves(config):
        if key in TOTALS and not (status.get("stopped") or ends_learning(config, total)):
            lines.append(f"  {command('resume')} {path} {key}={2 * total}{trust}")
    return [printable(line) for line in lines]


def how_to_resume(config: dict[str, Any], folder: RunFolder, *, restart: bool = False) -> str:
    """Return the command that continues a run or, where Python code trains it, the call."""
    if is_command():
        path = quoted(str(folder.path))
        return f"{command('resume')} {path}{' --restart' * restart}{trusting(config)}"
    from dqn.env.makers import NAMESPACE  # imports Gymnasium

    id, packages = config["env"]["id"], own_packages(config)
    arguments = [repr(str(folder.path))]
    arguments += [f"env={id.removeprefix(NAMESPACE)}"] if id.startswith(NAMESPACE) else []
    arguments += ["restart=True"] if restart else []
    arguments += [f"trust={packages}"] if packages else []
    return f"dqn.resume({', '.join(arguments)})"


def over(num_seeds: int) -> str:
    """Return the statistic that combines the scores of that many seeds."""
    return "one seed" if num_seeds == 1 else f"interquartile mean of {num_seeds} seeds"


def trusting(config: dict[str, Any]) -> str:
    """Return the options that make a command trust the custom packages of a run."""
    return "".join(f" --trust {quoted(name)}" for name in own_packages(config))


def ends_learning(config: dict[str, Any], total: int) -> bool:
    """Return whether the learning rate stays 0 after tick `total`."""
    schedule = config["agent"]["lr_schedule"]
    return bool(schedule.get("end") == 0 and schedule.get("duration", math.inf) <= total)
