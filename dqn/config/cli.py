"""The command lines: train (Hydra's), resume and evaluate."""

import argparse
import logging
import secrets
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dqn.config.paths import CONF
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
        UserError: an interpolation leads nowhere, or a value is missing.
    """

    def plain(key: str) -> Any:
        value = cfg[key]
        return (
            OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
            if OmegaConf.is_config(value)
            else value
        )

    try:
        return {str(key): plain(str(key)) for key in cfg if key != "hydra"}
    except OmegaConfBaseException as error:
        raise UserError(" ".join(str(error).split())) from None


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
        try:
            folder = Path(config.hydra.run.dir)
            verified(resolved(config), RunFolder(folder))
            folder.mkdir(parents=True, exist_ok=True)
        except UserError as error:
            sys.exit(str(error))
        except OSError as error:
            sys.exit(f"hydra.run.dir={config.hydra.run.dir}: cannot be made ({error})")
        except Exception:  # Hydra would go on after a callback's exception
            traceback.print_exc()
            sys.exit(1)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def hydra_job(cfg: DictConfig) -> float:
    """Train one run and return its result, for sweepers."""
    from dqn.config.launch import launch

    job = HydraConfig.get()
    folder = RunFolder(Path(job.runtime.output_dir))
    config = resolved(cfg)
    try:
        return launch(config, folder, list(job.overrides.task), verified(config, folder))
    except UserError as error:
        if job.mode == RunMode.MULTIRUN:
            logging.getLogger(__name__).error("job %s: %s", job.job.num, error)
            remove_if_empty(folder.path)
        raise HydraException(str(error)) from None


def remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def train() -> None:
    """Run `python scripts/train.py`."""
    try:
        hydra_job()
    except KeyboardInterrupt:
        sys.exit(130)


def resume() -> None:
    """Run `python scripts/resume.py RUN [KEY=VALUE ...]`."""
    parser = argparse.ArgumentParser(
        prog="resume.py", description="Go on with an interrupted run, exactly where its last checkpoint is."
    )
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument(
        "options", nargs="*", metavar="KEY=VALUE", help="a larger runner.total_steps or runner.total_episodes"
    )
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=TRUST)
    arguments = parser.parse_args()
    with plain_errors():
        from dqn.config.launch import launch
        from dqn.config.trust import load_config

        folder = RunFolder(arguments.run)
        config = load_config(folder, arguments.trust)
        overridden = OmegaConf.create(config)
        for key, value in parse(arguments.options).items():
            if OmegaConf.select(overridden, key, default=parse) is parse:
                raise UserError(f"{key}={value}: {folder.path} has no such key")
            OmegaConf.update(overridden, key, value)
        config = resolved(overridden)
        launch(config, folder, arguments.options, verified(config, folder))


TRUST = "a package of your own that the run may import"


def evaluate() -> None:
    """Run `python scripts/evaluate.py RUN [episodes=100]`."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py", description="Play fresh episodes with a run's policy; writes RUN/evaluation.json."
    )
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument(
        "options",
        nargs="*",
        metavar="KEY=VALUE",
        help="episodes=100 (per seed), epsilon=0.0, stream=0 (another number plays other episodes)",
    )
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=TRUST)
    arguments = parser.parse_args()
    with plain_errors():
        from dqn.config.evaluation import evaluate_run

        evaluation = evaluate_run(arguments.run, parse(arguments.options), arguments.trust)
        print(evaluation.pop("text"))
        RunFolder(arguments.run).write_evaluation(evaluation)


def parse(options: Sequence[str]) -> Config:
    """Return KEY=VALUE words as a dict, values in Hydra's grammar.

    Raises:
        UserError: a word is none.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(list(options))
    except HydraException as error:
        raise UserError(f"options should be KEY=VALUE ({str(error).splitlines()[0]})") from None
    for override in overrides:
        if not override.is_add() and not override.is_delete() and not override.is_sweep_override():
            continue
        raise UserError(f"{override.input_line}: should be KEY=VALUE")
    return {override.key_or_group: override.value() for override in overrides}


class plain_errors:
    """Show a user's mistake without a traceback, and log as Hydra does for train.py."""

    def __enter__(self) -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, UserError):
            sys.exit(str(error))
        if isinstance(error, KeyboardInterrupt):
            sys.exit(130)
