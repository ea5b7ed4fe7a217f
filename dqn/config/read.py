"""Read a run folder as data: its checked configuration, and the policy of a seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dqn.config.build import build_policy
from dqn.config.compose import StrPath
from dqn.config.given import refuse_registered
from dqn.config.trust import load_config
from dqn.config.validate import check
from dqn.config.wrappers import env_factory
from dqn.deploy.greedy_policy import GreedyPolicy
from dqn.deploy.load import load_policies
from dqn.errors import UserError
from dqn.storage.checkpoint import Checkpoint
from dqn.storage.folder import RunFolder, seeds_of


def recorded(folder: RunFolder, trust: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a run folder, which is treated as data and not yet checked."""
    config = load_config(folder, trust)
    refuse_registered(config)
    return config


def read_run(run: StrPath, trust: Sequence[str]) -> tuple[dict[str, Any], RunFolder]:
    """Return the checked configuration of a run folder, which is treated as data, and the folder."""
    folder = RunFolder(Path(run))
    config = recorded(folder, trust)
    check(config, learns=False).raise_if_any()
    return config, folder


def load_policy(config: dict[str, Any], folder: RunFolder, seed: int | None, which: str) -> GreedyPolicy:
    """Return the last or the best policy of one seed of a run whose configuration was checked.

    Raises:
        UserError: the run lacks this seed or policy, or its checkpoint is missing, damaged or another run's.
    """
    seeds = seeds_of(config)
    seed = seeds[0] if seed is None else seed
    if isinstance(seed, bool) or seed not in seeds:
        known = f"the seed {seeds[0]}" if len(seeds) == 1 else f"the seeds {seeds[0]} to {seeds[-1]}"
        raise UserError(f"seed={seed!r}: the run has {known}")
    factory = env_factory(config["env"])
    policy = build_policy(config, spec=factory.spec, seeds=[seed])
    rows = slice(seed - seeds[0], seed - seeds[0] + 1)
    (iteration,), selected = load_policies(policy, Checkpoint(folder.path), which, seeds=seeds, rows=rows)
    return GreedyPolicy(policy=policy, factory=factory, seed=seed, iteration=iteration, selected=selected)
