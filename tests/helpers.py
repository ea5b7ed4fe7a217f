"""What many tests need: a composed configuration and its runner."""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from dqn.cli.main import resolved
from dqn.config.build import build
from dqn.config.paths import CONF
from dqn.config.validate import check
from dqn.runner import Runner
from dqn.storage.folder import RunFolder

TESTS = Path(__file__).parent
ROOT = TESTS.parent
USER = TESTS / "user"

TINY_STEPS = [
    "runner=steps",
    "runner.total_steps=400",
    "runner.iteration_length=200",
    "runner.learning_starts=50",
    "runner.train_period=4",
    "runner.target_period=40",
    "runner.batch_size=16",
    "runner.eval_episodes=0",
    "network.torso.hidden_sizes=[16]",
]
TINY_EPISODES = [
    "runner=episodes",
    "runner.total_episodes=20",
    "runner.iteration_length=10",
    "runner.learning_starts=50",
    "runner.batch_size=16",
    "runner.eval_episodes=0",
    "network.torso.hidden_sizes=[16]",
]

FINISHED = [
    "runner.total_episodes=4",
    "runner.iteration_length=2",
    "runner.eval_episodes=0",
    "network.torso.hidden_sizes=[4]",
]
"""Overrides of the run in the fixture `finished_run`."""


def options(group: str) -> list[str]:
    """Return the options that conf/ has for a group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def config_of(words: Sequence[str]) -> dict[str, Any]:
    """Return the resolved configuration of a command line, which the test may change."""
    return copy.deepcopy(composed(tuple(words)))


@functools.cache
def composed(words: tuple[str, ...]) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolved(compose("config", overrides=list(words)))


def make_runner(folder: Path, words: list[str]) -> Runner:
    """Return the runner of a command line, checked, in `folder`."""
    config = config_of(words)
    check(config).raise_if_any()
    folder.mkdir(parents=True, exist_ok=True)
    return build(config, RunFolder(folder))
