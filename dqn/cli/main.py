"""The command lines: train (Hydra's), resume, evaluate, export and check."""

import gc
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dqn.cli.arguments import check_arguments, parse, plain_errors, replace_values, run_arguments
from dqn.config.compose import check_words, mistakes
from dqn.config.paths import CONF
from dqn.config.resolve import container, folder_of, resolved, verified
from dqn.errors import UserError
from dqn.storage.folder import RunFolder


class Check(Callback):
    """Stops a bad single run before Hydra makes its folder; in a multirun each job checks itself."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with exit_on_mistake():
            folder = folder_of(config, "hydra.run.dir")
            verified(resolved(config), RunFolder(folder))
            make_folder(folder, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with exit_on_mistake():
            check_plugins(config)
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


def check_plugins(config: DictConfig) -> None:
    """Raise UserError if the keys of the launcher or the sweeper have wrong values."""
    from hydra.utils import get_class

    from dqn.config.schema import Problem, check_keys

    problems: list[Problem] = []
    for place in ("hydra.launcher", "hydra.sweeper"):
        node = container(OmegaConf.select(config, place), resolve=True)
        check_keys(node, get_class(node["_target_"]), place, problems)
    if problems:
        raise mistakes(problems, "the configuration")


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
    gc.freeze()  # modules stay: no collection, nor the one at the exit, need look at them again
    gc.enable()
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
    gc.disable()  # until the job begins: what is imported stays, and to look for garbage in it takes a second
    arguments = vars(get_args_parser().parse_args())
    words, multirun, config_dir = (arguments.pop(key) for key in ("overrides", "multirun", "config_dir"))
    try:
        if not any(arguments.values()):  # the other flags ask for no run, or for another configuration
            check_words(words, multirun=multirun, config_dir=config_dir)
        hydra_job()
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def resume() -> None:
    """Run `python scripts/resume.py RUN [KEY=VALUE ...]`."""
    arguments = run_arguments(
        "resume",
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
        "evaluate",
        "Play fresh episodes with a run's policy; writes RUN/evaluation.json.",
        "episodes=100 (per seed), epsilon=0.0, stream=0 (another number plays other episodes),"
        " policy=last (or best: of each seed's highest periodic evaluation), video=FILE.mp4",
    )
    with plain_errors():
        options = parse(arguments.options)
        from dqn.cli.evaluate import evaluate_run

        evaluation = evaluate_run(arguments.run, options, arguments.trust)
        print(evaluation.pop("text"))
        RunFolder(arguments.run).write_evaluation(evaluation)


def export() -> None:
    """Run `python scripts/export.py RUN FILE [seed=0]`."""
    arguments = run_arguments(
        "export",
        "Write a policy as a file that other programs run: action values [B, A] of observations [B, ...].",
        "seed=0 (one of the run's; its first), policy=last (or best: of its highest periodic evaluation)",
        file="FILE.onnx, or FILE.pt2 (torch.export)",
    )
    with plain_errors():
        options = parse(arguments.options)
        from dqn.cli.export import export_run

        print(export_run(arguments.run, arguments.file, options, arguments.trust))


def check() -> None:
    """Run `python scripts/check.py [GROUP=OPTION ...] [KEY=VALUE ...]`."""
    arguments = check_arguments()
    with plain_errors(logging.WARNING):
        from dqn.cli.check import examine_words

        states = []
        for finding in examine_words(arguments.words, arguments.config_dir):
            print(finding, flush=True)
            states.append(finding.state)
    sys.exit(1 if "FAILED" in states else 0)
