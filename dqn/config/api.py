"""What `import dqn` offers: a run trained from Python, and a run's policy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hydra.utils import instantiate

from dqn.agent import Policy
from dqn.config.build import device_here
from dqn.config.compose import StrPath, compose
from dqn.config.launch import launch
from dqn.config.preflight import prepare
from dqn.config.trust import load_config
from dqn.config.validate import check
from dqn.config.wrappers import env_factory
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.deploy.load import load_policies
from dqn.errors import UserError
from dqn.process import preserve_settings
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that was trained to its end."""

    folder: Path
    config: dict[str, Any] = field(repr=False)
    """The complete configuration, as .hydra/config.yaml records it."""
    result: float
    """The interquartile mean over seeds of the final evaluation, or of the latest training returns."""
    evaluation: dict[str, list[float]] | None = field(repr=False)
    """Returns of the final evaluation's episodes, by seed."""

    def load(self, seed: int | None = None, *, policy: Literal["last", "best"] = "last") -> GreedyPolicy:
        """Return the policy of a seed, by default the run's first; as dqn.load does."""
        return load_policy(self.config, RunFolder(self.folder), seed, policy)


def train(overrides: Sequence[str], config_dir: StrPath | None) -> Run:
    """Do what dqn.train does."""
    overrides = [overrides] if isinstance(overrides, str) else list(overrides)
    composed = compose(overrides, config_dir=config_dir)
    if composed.is_multirun:
        raise UserError(
            f"{' '.join(overrides)}: a sweep, which only the command runs; dqn.train trains one run"
        )
    run = prepare(composed.config, overrides)
    with preserve_settings():
        result = launch(run)
    evaluation = run.folder.stored_status().get("evaluation")
    return Run(folder=run.folder.path, config=run.config, result=result, evaluation=evaluation)


def load(run: StrPath, seed: int | None, policy: str, trust: Sequence[str]) -> GreedyPolicy:
    """Do what dqn.load does."""
    config, folder = read_run(run, [trust] if isinstance(trust, str) else trust)
    return load_policy(config, folder, seed, policy)


def read_run(run: StrPath, trust: Sequence[str]) -> tuple[dict[str, Any], RunFolder]:
    """Return the configuration of a run folder, which is data, and the folder."""
    folder = RunFolder(Path(run))
    config = load_config(folder, trust)
    check(config, learns=False).raise_if_any()
    return config, folder


def load_policy(config: dict[str, Any], folder: RunFolder, seed: int | None, which: str) -> GreedyPolicy:
    """Return the last or the best policy of one seed of a run, whose configuration was checked.

    Raises:
        UserError: the run has no such seed or policy, or its checkpoint is missing, damaged or another's.
    """
    first, count = config["seed"], config["num_seeds"]
    seed = first if seed is None else seed
    if isinstance(seed, bool) or seed not in range(first, first + count):
        seeds = f"the seed {first}" if count == 1 else f"the seeds {first} to {first + count - 1}"
        raise UserError(f"seed={seed!r}: the run has {seeds}")
    factory = env_factory(config["env"])
    policy = Policy(
        network=instantiate(config["network"], _convert_="all"),
        spec=factory.spec,
        seeds=[seed],
        device=device_here(config["device"]),
    )
    rows = slice(seed - first, seed - first + 1)
    (iteration,), selected = load_policies(policy, Checkpoint(folder.path), which, count=count, rows=rows)
    return GreedyPolicy(policy=policy, factory=factory, seed=seed, iteration=iteration, selected=selected)
