"""The returns of a running job, read from its files, so that the job may run on any machine."""

from collections import deque
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from dqn.stats import interquartile_mean
from dqn.storage.folder import RunFolder, seeds_of
from dqn.storage.metrics import RECENT_EPISODES, read_lines

ITERATION_END = "time/steps_per_second"
"""Key that only the last line of an iteration has."""


def periodic_returns(folder: RunFolder, config: dict[str, Any]) -> dict[int, float]:
    """Return the interquartile mean over seeds of the return in each iteration, counted from 1.

    The return is that of the periodic evaluation or, in runs without one, the mean of the latest training
    episodes. Iterations that lack a return of some seed are left out.
    """
    runner = config["runner"]
    evaluation = runner["eval_period"] > 0 and runner["eval_episodes"] > 0
    seeds = [dict(seed_returns(folder, seed, evaluation=evaluation)) for seed in seeds_of(config)]
    shared = sorted(set(seeds[0]).intersection(*seeds))
    return {iteration: interquartile_mean([one[iteration] for one in seeds]) for iteration in shared}


def seed_returns(folder: RunFolder, seed: int, *, evaluation: bool) -> Iterator[tuple[int, float]]:
    """Yield iteration and return of a seed, from evaluation or from training."""
    recent: deque[float] = deque(maxlen=RECENT_EPISODES)
    iteration = 0
    for line in read_lines(folder.path, seed):
        if "train/return" in line:
            recent.append(line["train/return"])
        if ITERATION_END not in line:
            continue
        iteration += 1
        if evaluation and "eval/return" in line:
            yield iteration, line["eval/return"]
        elif not evaluation and recent:
            yield iteration, fmean(recent)
