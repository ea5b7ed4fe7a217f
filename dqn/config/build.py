"""Build the objects of a checked configuration: a runner, or a policy alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Le, Lt, Predicate

from dqn.agent import Policy
from dqn.config.groups import MakeAgent, MakeEnvironments, MakeMemory
from dqn.config.observers import make_callbacks, make_trackers
from dqn.config.parts import make
from dqn.config.resources import open_files
from dqn.config.wrappers import env_factory, make_environments
from dqn.devices import DeviceName, absence, find_device
from dqn.network.protocols import MakeNetwork
from dqn.process import configure_process
from dqn.runner import Callback, Runner
from dqn.runner.clock import Clock
from dqn.runner.counters import Counters
from dqn.runner.evaluator import Evaluator
from dqn.runner.hooks import Callbacks
from dqn.runner.progress import RunProgress
from dqn.runner.video import Camera
from dqn.schedule import Schedule
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import RunFolder, seeds_of
from dqn.system import allow_open_files
from dqn.tracking.logger import Logger
from dqn.tracking.progress import open_progress
from dqn.tracking.trackers import Tracker
from dqn.types import EnvSpec, NonNegativeInt, PositiveInt

Config = dict[str, Any]

FolderName = Annotated[str, Predicate(lambda name: name not in ("", ".", "..") and "/" not in name)]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The root of a configuration: its values, and its groups as the objects or factories that they make."""

    name: FolderName
    seed: Annotated[NonNegativeInt, Lt(2**63)]
    num_seeds: PositiveInt
    device: DeviceName
    num_threads: Annotated[PositiveInt, Le(1024)]
    env: MakeEnvironments
    network: MakeNetwork
    memory: MakeMemory
    schedule: Schedule
    runner: Clock
    agent: MakeAgent
    tracker: dict[str, Tracker]
    callbacks: list[Callback]


def build(config: Config, folder: RunFolder, callbacks: Mapping[str, Callback] | None = None) -> Runner:
    """Return the runner of a checked configuration, which writes into `folder` once it runs.

    Args:
        config: the configuration.
        folder: the run folder.
        callbacks: further callbacks, which have no state, by the name that errors call them.

    Raises:
        UserError: the checkpoint in the folder is damaged or belongs to another run.
    """
    parts = {
        key: make(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in ("env", "tracker", "callbacks")
    }
    run = RunConfig(
        **parts,
        env=make_environments(config["env"]),
        tracker=make_trackers(config["tracker"]),
        callbacks=make_callbacks(config["callbacks"]),
    )
    configure_process(run.num_threads)
    allow_open_files(open_files(config))
    seeds, clock = seeds_of(config), run.runner
    environments = run.env(seeds=seeds, role="environment", training=True)
    hooks = Callbacks(run.callbacks, callbacks or {})
    environments.need_infos = hooks.need_infos
    common: Config = {
        "spec": environments.spec,
        "seeds": seeds,
        "num_envs": environments.num_envs,
        "device": find_device(run.device),
    }
    learner = run.agent(network=run.network, planned_updates=clock.planned_updates, **common)
    evaluator = None
    if clock.eval_episodes:
        evaluator = Evaluator(
            make_env=run.env,
            seeds=seeds,
            episodes=clock.eval_episodes,
            epsilon=clock.eval_epsilon,
            num_envs=clock.eval_num_envs,
            max_steps=clock.eval_max_steps,
            role="periodic evaluation",
        )
    runner = Runner(
        clock=clock,
        env=environments,
        agent=learner,
        memory=run.memory(gamma=learner.gamma, network=learner.policy.network_spec, **common),
        epsilon=run.schedule,
        evaluator=evaluator,
        counters=Counters(seeds=seeds, num_envs=environments.num_envs),
        logger=Logger(folder=folder.path, seeds=seeds, config=config, trackers=run.tracker),
        callbacks=hooks,
        checkpoint=Checkpoint(folder.path),
        camera=make_camera(config) if clock.video_period else None,
        progress=RunProgress(open_progress(unit=clock.unit, total=clock.total)),
        on_progress=lambda progress: folder.update_status(progress=progress),
    )
    runner.restore()
    return runner


def make_camera(config: Config) -> Camera:
    """Return a camera that films the environment of a configuration."""
    max_steps = config["runner"]["eval_max_steps"]
    return Camera(factory=env_factory(config["env"]), seeds=seeds_of(config), max_steps=max_steps)


def build_policy(config: Config, *, spec: EnvSpec, seeds: Sequence[int]) -> Policy:
    """Return an untrained policy of a checked configuration; a device that is missing here counts as auto."""
    network = make(config["network"])
    device = find_device("auto" if absence(config["device"]) else config["device"])
    return Policy(network=network, spec=spec, seeds=seeds, device=device)
