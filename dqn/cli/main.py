"""The commands train (through Hydra), resume, evaluate, export and check."""

import gc
import logging
import os
import sys
from pathlib import Path

import hydra
from hydra._internal.callbacks import Callbacks
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobRuntime, configure_log, run_job
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, RunMode
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, read_write

from dqn.cli.arguments import as_typed, check_arguments, run_arguments
from dqn.cli.help import help_text
from dqn.cli.output import plain_errors, print_summary
from dqn.config import overrides as grammar
from dqn.config.any_env import with_base
from dqn.config.compose import Composed, compose, mistakes
from dqn.config.overrides import CONFIG_NAME
from dqn.config.paths import CONF
from dqn.config.preflight import CheckedRun, folder_of, plain, preflight, prepare, resolved
from dqn.config.values import parse
from dqn.errors import UserError, WrongValue
from dqn.storage.folder import RunFolder
from dqn.tracking.progress import waiting


def train() -> None:
    """Run `python scripts/train.py`."""
    gc.disable()  # until the job starts: imports leave no garbage, and looking for it takes a second
    known, unknown = get_args_parser().parse_known_intermixed_args()
    arguments = vars(known)
    overrides, multirun, config_dir = (arguments.pop(key) for key in ("overrides", "multirun", "config_dir"))
    overrides = as_typed(overrides, unknown)
    with plain_errors():
        overrides = with_base(overrides, config_dir)
        if any(value for flag, value in arguments.items() if flag != "help"):  # --cfg and others need no run
            sys.argv[1:] = with_base(sys.argv[1:], config_dir)
            hydra_application()
            return
        with waiting("composing the configuration"):
            composed = compose(overrides, multirun=multirun, config_dir=config_dir)
        if arguments["help"]:
            print(help_text(composed))
            return
        if multirun or composed.is_multirun:
            with waiting("loading PyTorch"):
                check_plugins(composed)
            make_folder(folder_of(composed.config, "hydra.sweep.dir"), "hydra.sweep.dir")
            flags = [*["-m"] * multirun, *([] if config_dir is None else ["--config-dir", config_dir])]
            sys.argv[1:] = [*flags, *overrides]  # Hydra wants all overrides together
            hydra_application()
        else:
            with waiting("loading PyTorch and checking the configuration"):
                run = prepare(composed.config, overrides)
            make_folder(run.folder.path, "hydra.run.dir")
            train_one(composed, run)
            print_summary(run.folder)


def train_one(composed: Composed, run: CheckedRun) -> None:
    """Train a run as hydra.main does, with its logging and callbacks, but without composing again."""
    config = composed.config
    with read_write(config.hydra):
        config.hydra.mode = RunMode.RUN
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    JobRuntime.instance().set("name", config.hydra.job.name)
    callbacks = Callbacks(config)
    callbacks.on_run_start(config=config, config_name=CONFIG_NAME)
    job = run_job(
        hydra_context=HydraContext(config_loader=composed.loader, callbacks=callbacks),
        task_function=lambda _: train_here(run),
        config=config,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
    )
    callbacks.on_run_end(config=config, config_name=CONFIG_NAME, job_return=job)
    _ = job.return_value  # raises the run's exception


def train_here(run: CheckedRun) -> float:
    from dqn.config.launch import launch  # imports torch

    gc.freeze()  # modules stay: no later collection needs to examine them
    gc.enable()
    return launch(run)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name=CONFIG_NAME)
def hydra_application(cfg: DictConfig) -> float:
    """Answer Hydra's flags or run a sweep; Hydra's own launchers call this for each job."""
    job = HydraConfig.get()
    folder = RunFolder(Path(job.runtime.output_dir))
    try:
        result = train_here(preflight(resolved(cfg), folder, list(job.overrides.task)))
        print_summary(folder)
        return result
    except UserError as error:
        logging.getLogger(__name__).error("job %s: %s", job.job.num, error)
        if not any(folder.path.iterdir()):
            folder.path.rmdir()
        raise CompactHydraException(str(error)) from None  # SystemExit would stop the other jobs


def check_plugins(composed: Composed) -> None:
    """Raise UserError if keys of the launcher or the sweeper, or its own sweep, are wrong."""
    from dqn.config.schema import check_keys  # import torch

    problems: list[WrongValue] = []
    for key in ("hydra.launcher", "hydra.sweeper"):
        node = plain(OmegaConf.select(composed.config, key))
        check_keys(node, get_class(node["_target_"]), key, problems)
    params = node.get("params") or {}  # the sweeper's
    parser = OverridesParser.create(config_loader=composed.loader)
    parsed = grammar.parse([f"{key}={value}" for key, value in params.items()], parser)
    wrong = parsed.with_corrections(parsed.problems)
    if problems or wrong:
        raise mistakes([*problems, *(f"hydra.sweeper.params: {one}" for one in wrong)], "the configuration")


def make_folder(folder: Path, key: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{key}={folder}: cannot be created ({error})") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{key}={folder}: cannot be written")


def resume() -> None:
    """Run `python scripts/resume.py RUN [KEY=VALUE ...]`."""
    arguments = run_arguments(
        "resume",
        "a larger runner.total_steps or runner.total_episodes",
    )
    with plain_errors(logging.INFO):
        parse(arguments.options)  # a mistake needs no torch
        with waiting("loading PyTorch"):
            from dqn.config import api

        options = {"restart": arguments.restart, "trust": arguments.trust}
        run = api.resume(arguments.run, arguments.options, env=None, on_iteration=None, **options)
        print_summary(RunFolder(run.folder))


def evaluate() -> None:
    """Run `python scripts/evaluate.py RUN [episodes=100]`."""
    arguments = run_arguments(
        "evaluate",
        "episodes=100 (per seed), epsilon=EPSILON (else runner.eval_epsilon),"
        " stream=0 (another number selects other episodes),"
        " policy=last (or best: of each seed's highest periodic evaluation), video=FILE.mp4",
    )
    with plain_errors(logging.INFO):
        options = parse(arguments.options)
        with waiting("loading PyTorch"):
            from dqn.config.evaluate import can_record, evaluate_run
            from dqn.config.options import EvaluateOptions, read_options

        given = read_options(EvaluateOptions, options)
        can_write = can_record(arguments.run)
        evaluation = evaluate_run(arguments.run, given, arguments.trust)
        print(evaluation)
        if can_write:
            RunFolder(arguments.run).write_evaluation(evaluation.content())


def export() -> None:
    """Run `python scripts/export.py RUN FILE [seed=0]`."""
    arguments = run_arguments(
        "export",
        "seed=N (default: the run's first), policy=last (or best: of the seed's highest periodic evaluation)",
        file="FILE.onnx, or FILE.pt2 (torch.export)",
    )
    with plain_errors(logging.INFO):
        options = parse(arguments.options)
        with waiting("loading PyTorch"):
            from dqn.cli.export import export_run
            from dqn.config.options import ExportOptions, read_options

        given = read_options(ExportOptions, options)
        with waiting(f"exporting to {arguments.file}"):
            text = export_run(arguments.run, arguments.file, given, arguments.trust)
        print(text)


def check() -> None:
    """Run `python scripts/check.py [GROUP=OPTION ...] [KEY=VALUE ...]`."""
    arguments = check_arguments()
    with plain_errors(logging.WARNING):
        from dqn.cli.check import examine_parts

        states = []
        for finding in examine_parts(arguments.overrides, arguments.config_dir):
            print(finding, flush=True)
            states.append(finding.state)
    sys.exit(1 if "FAILED" in states else 0)
