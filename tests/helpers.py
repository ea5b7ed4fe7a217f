"""Composed configurations and their runners, for many tests."""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from dqn.config.any_env import with_base
from dqn.config.build import build
from dqn.config.compose import compose
from dqn.config.launch import launch
from dqn.config.paths import CONF
from dqn.config.preflight import CheckedRun, resolved
from dqn.config.validate import check
from dqn.runner import Runner
from dqn.storage.folder import RunFolder

PARSER = OverridesParser.create()
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
    "runner=episodes",
    "runner.total_episodes=4",
    "runner.iteration_length=2",
    "runner.eval_episodes=0",
    "network.torso.hidden_sizes=[4]",
]
"""Overrides of the run in the fixture `finished_run`."""


def options(group: str) -> list[str]:
    """Return the options of a group in conf/."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def config_of(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the resolved configuration of a command line; the test may change it.

    Each choice of options is composed once; the other overrides are applied to it as Hydra applies them.
    That takes a twentieth of the time of `compose`.
    """
    parsed = PARSER.parse_overrides(with_base(overrides))
    choices = [one for one in parsed if (CONF / one.key_or_group).is_dir()]
    config = copy.deepcopy(composed(tuple(str(one.input_line) for one in choices)))
    ConfigLoaderImpl._apply_overrides_to_config([one for one in parsed if one not in choices], config)
    return resolved(config)


@functools.cache
def composed(choices: tuple[str, ...]) -> DictConfig:
    return compose(choices).config


def make_runner(folder: Path, overrides: list[str]) -> Runner:
    """Return the runner of a command line, whose configuration is checked, in `folder`."""
    config = config_of(overrides)
    check(config).raise_if_any()
    folder.mkdir(parents=True, exist_ok=True)
    return build(config, RunFolder(folder))


def train_run(folder: Path, overrides: list[str]) -> float:
    """Train the run of a command line in `folder` without checking its configuration."""
    run = CheckedRun(config=config_of(overrides), folder=RunFolder(folder), overrides=overrides, warnings=[])
    return launch(run)
