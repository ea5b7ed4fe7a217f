"""A checked configuration to a runner."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import Predicate
from hydra.utils import instantiate

from dqn.agent import Policy
from dqn.env import Environments
from dqn.process import configure_process
from dqn.runner import Runner
from dqn.runner.clock import Clock
from dqn.runner.evaluator import Evaluator
from dqn.runner.video import Camera
from dqn.schedule import Schedule
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import RunFolder
from dqn.tracking.logger import Logger
from dqn.types import NonNegativeInt, PositiveInt

if TYPE_CHECKING:
    from dqn.tracking.progress_bar import Bar

Config = dict[str, Any]

FolderName = Annotated[str, Predicate(lambda name: name not in ("", ".", "..") and "/" not in name)]


def experiment(
    *,
    name: FolderName,
    seed: NonNegativeInt,
    num_seeds: PositiveInt,
    device: Literal["auto", "cpu", "cuda"],
    num_threads: PositiveInt,
    env: Callable[..., Environments],
    network: Callable[..., Any],
    memory: Callable[..., Any],
    schedule: Schedule,
    runner: Clock,
    agent: Callable[..., Any],
    folder: RunFolder,
    config: Config,
) -> Runner:
    """Return the runner of a configuration whose groups are already objects."""
    seeds = range(seed, seed + num_seeds)
    configure_process(num_threads)
    environments = env(seeds=seeds, purpose="environment")
    common: Config = {
        "spec": environments.spec,
        "seeds": seeds,
        "num_envs": environments.num_envs,
        "device": find_device(device),
    }
    learner = agent(network=network, planned_updates=runner.planned_updates, **common)
    evaluator = None
    if runner.eval_episodes:
        evaluator = Evaluator(
            make_env=env,
            seeds=seeds,
            episodes=runner.eval_episodes,
            epsilon=runner.eval_epsilon,
            purpose="periodic evaluation",
        )
    return Runner(
        clock=runner,
        env=environments,
        agent=learner,
        memory=memory(gamma=learner.gamma, **common),
        epsilon=schedule,
        evaluator=evaluator,
        logger=Logger(folder=folder.path, seeds=seeds, num_envs=environments.num_envs, config=config),
        checkpoint=Checkpoint(folder.path),
        camera=make_camera(config),
        bar=make_bar(runner),
        on_progress=lambda progress: folder.update_status(progress=progress),
    )


def make_camera(config: Config) -> Camera:
    """Return what films the environment of a configuration."""
    env, seeds = config["env"], range(config["seed"], config["seed"] + config["num_seeds"])
    return Camera(id=env["id"], module=env.get("module"), kwargs=env.get("kwargs", {}), seeds=seeds)


def make_bar(clock: Clock) -> "Bar | None":
    """Return a progress bar where stdout is a terminal that can draw one."""
    if not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return None
    from dqn.tracking.progress_bar import Bar

    return Bar(unit=clock.unit, total=clock.total)


def build(config: Config, folder: RunFolder) -> Runner:
    """Return the runner of a checked configuration."""
    parts = {
        key: instantiate(value, _convert_="all") if isinstance(value, dict) else value
        for key, value in config.items()
    }
    return experiment(**parts, folder=folder, config=config)


def build_policy(config: Config) -> tuple[Policy, Callable[..., Environments], range]:
    """Return the policy of a run, what makes its environments, and its seeds; memory is not read."""
    seeds = range(config["seed"], config["seed"] + config["num_seeds"])
    torch.set_num_threads(config["num_threads"])
    make_env = instantiate(config["env"], _convert_="all")
    network = instantiate(config["network"], _convert_="all")
    spec = make_env(seeds=seeds, purpose="evaluation").spec
    policy = Policy(network=network, spec=spec, seeds=seeds, device=device_here(config["device"]))
    return policy, make_env, seeds


def find_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def device_here(name: str) -> torch.device:
    """Return where a policy computes that may have been trained on a machine with CUDA."""
    return find_device("auto" if name == "cuda" else name)
