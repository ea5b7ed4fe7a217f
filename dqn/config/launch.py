"""Train one run in its folder: go on with what is there, and record in its status how it ends."""

import logging
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dqn.config.commands import command
from dqn.config.preflight import CheckedRun, refuse_differences
from dqn.config.summary import trusting
from dqn.errors import UserError
from dqn.storage.folder import RunFolder
from dqn.storage.provenance import environment, git_revision

log = logging.getLogger(__name__)


def launch(run: CheckedRun) -> float:
    """Train a run to its end and return its result.

    Raises:
        UserError: the folder is another run's or in use, or the run failed; its status says so too.
    """
    config, folder = run.config, run.folder
    with folder.locked():
        if finished(config, folder):
            return float(folder.stored_status()["result"])
        if folder.config_file.exists():
            refuse_differences(config, folder)
            from dqn.storage.checkpoint import Checkpoint

            Checkpoint(folder.path).verify()
        else:
            refuse_others_files(folder)
        with status_of(folder, config), interruption() as stop:
            adopt(config, folder, run.overrides)
            for warning in run.warnings:
                log.warning("warning: %s", warning)
            log.info("run folder: %s", folder.path)
            from dqn.config.build import build
            from dqn.runner.progress import status

            runner = build(config, folder)
            runner.stop = stop
            result = runner.run()
            folder.update_status(
                state="finished",
                result=result,
                evaluation=runner.counters.evaluation,
                best=runner.best.summary(),
                progress=status(runner),
            )
        return result


def adopt(config: dict[str, Any], folder: RunFolder, overrides: list[str]) -> None:
    """Record the configuration in a new folder, or go on with that of an old one."""
    versions = environment()
    if folder.config_file.exists():
        before = folder.stored_status().get("versions")
        before = before if isinstance(before, dict) else {}
        changed = {k: f"{before.get(k)} -> {v}" for k, v in versions.items() if before.get(k, v) != v}
        if changed:
            listed = ", ".join(f"{key} {change}" for key, change in changed.items())
            log.warning("warning: not exactly the run that was interrupted, for this has changed: %s", listed)
        if folder.read_config() != config:
            folder.write_config(config, overrides)
    else:
        folder.write_config(config, overrides)
    folder.count_cpu()
    folder.update_status(
        state="running",
        commands=commands(folder),
        error=None,
        result=None,
        evaluation=None,
        best=None,
        versions=versions,
        git=git_revision(),
    )


def commands(folder: RunFolder) -> list[str]:
    """Return the command lines that have worked on the run, this process's last; a repeated one once."""
    stored = folder.stored_status().get("commands")
    before = [line for line in stored if isinstance(line, str)] if isinstance(stored, list) else []
    line = shlex.join(["python", *sys.argv] if sys.argv[0].endswith(".py") else sys.argv)
    return before if line in before else [*before, line]


def refuse_others_files(folder: RunFolder) -> None:
    """Raise UserError if a folder without a configuration has what a run would write over, or runs in it."""
    for pattern in ("checkpoint", "seed=*", "*/.hydra"):
        if found := next(folder.path.glob(pattern), None):
            advice = (
                "a run folder without .hydra/config.yaml, or no run; another hydra.run.dir makes a new one"
            )
            raise UserError(f"{folder.path}: has {found.relative_to(folder.path)} ({advice})")


def finished(config: dict[str, Any], folder: RunFolder) -> bool:
    """Return whether the folder holds this run with its result."""
    status = folder.stored_status()
    ended = status.get("state") == "finished" and isinstance(status.get("result"), float)
    return ended and folder.config_file.exists() and folder.read_config() == config


@contextmanager
def status_of(folder: RunFolder, config: dict[str, Any]) -> Iterator[None]:
    """Record how the body ends."""
    try:
        yield
    except KeyboardInterrupt:
        leave(folder, state="interrupted")
        path = shlex.quote(str(folder.path))
        log.info("interrupted; it goes on with: %s %s%s", command("resume"), path, trusting(config))
        raise
    except SystemExit:  # as of Slurm, which starts the run anew
        leave(folder, state="interrupted")
        raise
    except UserError as error:
        leave(folder, state="failed", error=str(error))
        raise
    except OSError as error:
        leave(folder, state="failed", error=str(error))
        raise UserError(f"{folder.path}: {error}; the last checkpoint stays") from None
    except MemoryError as error:
        leave(folder, state="failed", error=f"out of memory: {error}")
        advice = "a smaller memory.capacity, num_seeds or network may help"
        raise UserError(f"{folder.path}: out of memory ({error}); {advice}") from None
    except BaseException as error:
        leave(folder, state="failed", error=f"{type(error).__name__}: {error}")
        raise


def leave(folder: RunFolder, **values: Any) -> None:
    try:
        folder.update_status(**values)
    except OSError as error:
        log.error("%s: the status could not be written (%s)", folder.path, error)


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """Let SIGTERM (a scheduler's request to stop) end the run as Ctrl-C does; yield what is set by both.

    An exception in a signal handler is lost where the interpreter is inside a callback, such as that of a
    fork; the run then ends at its next step, by the event.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()
        raise KeyboardInterrupt

    numbers = [n for n in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
