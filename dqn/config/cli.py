"""The command lines: train (Hydra's), resume and evaluate."""

import argparse
import logging
import os
import secrets
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dqn.config.composition import check_words, first_line, mistakes
from dqn.config.paths import CONF
from dqn.config.trust import leaves
from dqn.errors import UserError
from dqn.runs import RunFolder

Config = dict[str, Any]


def run_id() -> str:
    """Return a name that no other run has, also of those that start in the same second."""
    return f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(3)}"


OmegaConf.register_new_resolver("run_id", run_id, use_cache=True)


def resolved(cfg: DictConfig) -> Config:
    """Return a composed configuration as plain data.

    Raises:
        UserError: interpolations lead nowhere, or values are missing.
    """
    raw: Config = {str(key): value for key, value in container(cfg, resolve=False).items() if key != "hydra"}
    problems = [problem for key, value in leaves(raw) if (problem := unresolved(cfg, key, value))]
    if problems:
        raise mistakes(problems, "the configuration")
    return {key: container(cfg[key], resolve=True) for key in raw}


def container(node: Any, *, resolve: bool) -> Any:
    return OmegaConf.to_container(node, resolve=resolve) if OmegaConf.is_config(node) else node


def unresolved(cfg: DictConfig, key: str, value: Any) -> str | None:
    """Return what is wrong with a value as it was composed, if it stands for none."""
    if value == "???":
        return f"{key}=???: should be given"
    if isinstance(value, str) and "${" in value:
        try:
            OmegaConf.select(cfg, key, throw_on_resolution_failure=True)
        except OmegaConfBaseException as error:
            return f"{key}={value}: {first_line(error)}"
    return None


def verified(config: Config, folder: RunFolder) -> list[str]:
    """Return the warnings that a run deserves; nothing was made or changed.

    Raises:
        UserError: all that speaks against it.
    """
    from dqn.config.check import check
    from dqn.config.launch import refuse_differences

    report = check(config)
    report.raise_if_any()
    if folder.in_use():
        raise UserError(f"{folder.path}: in use by another process")
    if folder.config_file.exists():
        refuse_differences(config, folder)
    return report.warnings


class Check(Callback):
    """Stops a bad single run before Hydra makes its folder; in a multirun each job checks itself."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with exit_on_mistake():
            folder = folder_of(config, "hydra.run.dir")
            verified(resolved(config), RunFolder(folder))
            make_folder(folder, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with exit_on_mistake():
            make_folder(folder_of(config, "hydra.sweep.dir"), "hydra.sweep.dir")


@contextmanager
def exit_on_mistake() -> Iterator[None]:
    """End the process where Hydra would go on after a callback's exception."""
    try:
        yield
    except UserError as error:
        sys.exit(str(error))
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def folder_of(config: DictConfig, key: str) -> Path:
    try:
        return Path(OmegaConf.select(config, key, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: should be a folder ({first_line(error)})") from None


def make_folder(folder: Path, key: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{key}={folder}: cannot be made ({error})") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{key}={folder}: cannot be written")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def hydra_job(cfg: DictConfig) -> float:
    """Train one run and return its result, for sweepers."""
    from dqn.config.launch import launch

    job = HydraConfig.get()
    folder = RunFolder(Path(job.runtime.output_dir))
    try:
        config = resolved(cfg)
        return launch(config, folder, list(job.overrides.task), verified(config, folder))
    except UserError as error:
        if job.mode != RunMode.MULTIRUN:
            sys.exit(str(error))
        logging.getLogger(__name__).error("job %s: %s", job.job.num, error)
        remove_if_empty(folder.path)
        raise CompactHydraException(str(error)) from None  # SystemExit would end the other jobs


def remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def train() -> None:
    """Run `python scripts/train.py`."""
    words = sys.argv[1:]
    flags = {word for word in words if word.startswith("-")}
    try:
        if flags <= {"-m", "--multirun"}:
            check_words([word for word in words if word not in flags], multirun=bool(flags))
        hydra_job()
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def resume() -> None:
    """Run `python scripts/resume.py RUN [KEY=VALUE ...]`."""
    arguments = run_arguments(
        "Go on with an interrupted run, exactly where its last checkpoint is.",
        "a larger runner.total_steps or runner.total_episodes",
    )
    with plain_errors():
        options = parse(arguments.options)
        from dqn.config.launch import launch
        from dqn.config.trust import load_config

        folder = RunFolder(arguments.run)
        config = load_config(folder, arguments.trust)
        replace_values(config, options)
        launch(config, folder, arguments.options, verified(config, folder))


def evaluate() -> None:
    """Run `python scripts/evaluate.py RUN [episodes=100]`."""
    arguments = run_arguments(
        "Play fresh episodes with a run's policy; writes RUN/evaluation.json.",
        "episodes=100 (per seed), epsilon=0.0, stream=0 (another number plays other episodes)",
    )
    with plain_errors():
        options = parse(arguments.options)
        from dqn.config.evaluation import evaluate_run

        evaluation = evaluate_run(arguments.run, options, arguments.trust)
        print(evaluation.pop("text"))
        RunFolder(arguments.run).write_evaluation(evaluation)


def run_arguments(description: str, options: str) -> argparse.Namespace:
    """Return the arguments of a command about a run: the folder, KEY=VALUE words, and whom to trust."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE", help=options)
    trust = "a package of your own that the run may import"
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=trust)
    return parser.parse_intermixed_args()


def parse(options: Sequence[str]) -> Config:
    """Return KEY=VALUE words as a dict, values in Hydra's grammar.

    Raises:
        UserError: some words are none.
    """
    parser = OverridesParser.create()
    values: Config = {}
    problems = []
    for word in options:
        try:
            override = parser.parse_overrides([word])[0]
        except HydraException as error:
            problems.append(f"{word}: should be KEY=VALUE ({first_line(error)})")
            continue
        if override.is_add() or override.is_delete() or override.is_sweep_override():
            problems.append(f"{word}: should be KEY=VALUE")
        else:
            values[override.key_or_group] = override.value()
    if problems:
        raise mistakes(problems, "the command")
    return values


def replace_values(config: Config, values: Config) -> None:
    """Replace values of a configuration by their dotted keys.

    Raises:
        UserError: it has no such keys.
    """
    problems = []
    for key, value in values.items():
        *path, name = key.split(".")
        node: Any = config
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict) and name in node:
            node[name] = value
        else:
            problems.append(f"{key}={value}: the run has no such key")
    if problems:
        raise mistakes(problems, "the command")


class plain_errors:
    """Show a user's mistake without a traceback, and log as Hydra does for train.py."""

    def __enter__(self) -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, UserError):
            sys.exit(str(error))
        if isinstance(error, KeyboardInterrupt):
            sys.exit(130)
