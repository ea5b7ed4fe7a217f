"""Train one run in its folder: start or continue it, and record its state in status.json."""

import logging
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from dqn.config.preflight import CheckedRun, continued
from dqn.config.summary import how_to_resume
from dqn.errors import UserError, one_line, printable
from dqn.storage.folder import RunFolder
from dqn.storage.provenance import environment, git_revision
from dqn.tracking.progress import waiting

if TYPE_CHECKING:
    from dqn.env import Environments
    from dqn.runner import Callback

log = logging.getLogger(__name__)

NO_MEMORY = re.compile("(can't|cannot|not enough) (allocate )?memory|out of memory", re.IGNORECASE)
"""In the text of torch's RuntimeError."""


def launch(
    run: CheckedRun, *, restart: bool = False, callbacks: "Mapping[str, Callback] | None" = None
) -> float:
    """Train a run to its end and return its result.

    Args:
        run: is continued if its folder has a checkpoint.
        restart: discard the checkpoint first.
        callbacks: further callbacks, as for `build`.

    Raises:
        UserError: the folder belongs to another run, is in use or damaged, which changes nothing in it; or
            the run failed, as its status records.
    """
    config, folder = run.config, run.folder
    with folder.locked():
        if not restart and finished(config, folder):
            return folder.result()
        is_new = not folder.config_file.exists()
        if is_new:
            refuse_foreign_files(folder)
        else:
            config = continued(config, folder)
        with status_of(folder, config), interruption() as stop:
            from dqn.config.build import build
            from dqn.runner.progress import status

            if is_new:
                adopt(config, folder, run.overrides)
            elif restart:
                discard_checkpoint(folder)
            else:
                refuse_missing_checkpoint(config, folder)
            with waiting("preparing the run"):
                runner = build(config, folder, callbacks)
            if not is_new:
                adopt(config, folder, run.overrides)
            for warning in run.warnings:
                log.warning("warning: %s", printable(warning))
            log.info("run folder: %s", printable(str(folder.path)))
            runner.stop = stop
            probe(runner.env, config, folder)
            result = runner.run()
            folder.update_status(
                state="finished",
                result=result,
                stopped=runner.stopped,
                evaluation=runner.counters.evaluation,
                best=runner.best.summary(),
                progress=status(runner),
            )
        return result


def discard_checkpoint(folder: RunFolder) -> None:
    """Remove the checkpoint and the recorded progress, so that the run starts again from the beginning."""
    from dqn.storage.checkpoint import Checkpoint

    Checkpoint(folder.path).remove()
    if folder.stored_status():
        folder.update_status(state="interrupted", progress=None)


def refuse_missing_checkpoint(config: dict[str, Any], folder: RunFolder) -> None:
    """Raise UserError if the run's checkpoint is gone: starting again would replace its metrics and result.

    A run that has not finished its first iteration has no checkpoint.
    """
    from dqn.storage.checkpoint import Checkpoint

    status = folder.stored_status()
    progress = status.get("progress")
    metrics = (path.stat().st_size for path in folder.path.glob("seed=*/metrics.jsonl"))
    has_saved = progress["iteration"] > 0 if progress else not status and any(metrics)
    if has_saved and not Checkpoint(folder.path).exists():
        problem = "its checkpoint is missing; to start again and replace its metrics and its result"
        raise UserError(f"{folder.path}: {problem}: {how_to_resume(config, folder, restart=True)}")


def adopt(config: dict[str, Any], folder: RunFolder, overrides: list[str]) -> None:
    """Record the start of a run in its folder; warn if it continues in another environment."""
    from dqn.devices import description, find_device

    versions = environment() | {"device": description(find_device(config["device"]))}
    is_new = not folder.config_file.exists()
    recorded = config if is_new else folder.read_config()
    before = folder.stored_status().get("versions", {})
    changed = [
        f"{key} {one_line(before[key])} -> {v}" for key, v in versions.items() if before.get(key, v) != v
    ]
    if recorded["num_threads"] != config["num_threads"]:
        changed.append(f"num_threads {recorded['num_threads']} -> {config['num_threads']}")
    if changed:
        text = "warning: the run may not continue exactly; changed since it started: %s"
        log.warning(text, ", ".join(changed))
    if is_new or recorded != config:
        earlier = [one for one in folder.read_overrides() if one not in overrides]
        folder.write_config(config, [*earlier, *overrides])  # of two for one key the last counts
    folder.start_work()
    folder.update_status(
        state="running",
        commands=commands(folder),
        error=None,
        result=None,
        stopped=None,
        evaluation=None,
        best=None,
        versions=versions,
        git=git_revision(),
    )


def probe(env: "Environments", config: dict[str, Any], folder: RunFolder) -> None:
    """Record whether the environment follows its seed; warn if it does not, or if its masks are unused."""
    from dqn.runner.probe import probe as play

    reason, has_unused_mask = play(env, config["seed"])
    if has_unused_mask:
        text = "%s gives info['action_mask']; env.action_mask=info takes only the actions that it allows"
        log.info(text, printable(config["env"]["id"]))
    folder.update_status(reproducible=reason is None, irreproducible_because=reason)
    if reason is not None:
        text = "warning: env.id=%s ignores its seed, so the run cannot be repeated or resumed exactly: %s"
        log.warning(text, printable(config["env"]["id"]), reason)


def commands(folder: RunFolder) -> list[str]:
    """Return the distinct command lines that have worked on the run, that of this process included."""
    before = folder.stored_status().get("commands", [])
    line = shlex.join(["python", *sys.argv] if sys.argv[0].endswith(".py") else sys.argv)
    return before if line in before else [*before, line]


def refuse_foreign_files(folder: RunFolder) -> None:
    """Raise UserError if a folder without a configuration has runs in it, or files that a run overwrites."""
    for pattern in ("checkpoint", "seed=*", "*/.hydra"):
        if found := next(folder.path.glob(pattern), None):
            problem = f"contains {found.relative_to(folder.path)} but no .hydra/config.yaml"
            raise UserError(f"{folder.path}: {problem}; choose another hydra.run.dir")


def finished(config: dict[str, Any], folder: RunFolder) -> bool:
    """Return whether the folder holds this run, finished, with its result."""
    ended = folder.stored_status().get("state") == "finished"
    return ended and folder.config_file.exists() and folder.read_config() == config


@contextmanager
def status_of(folder: RunFolder, config: dict[str, Any]) -> Iterator[None]:
    """Record in the status that the body was interrupted or failed; no space or memory raises UserError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:  # SystemExit: Slurm, which restarts the run
        record(folder, state="interrupted")
        if isinstance(stop, KeyboardInterrupt):
            log.info("interrupted; continue with: %s", printable(how_to_resume(config, folder)))
        raise
    except Exception as error:
        from dqn.config.custom import failure_of  # imports torch

        problem = problem_of(error, folder) or failure_of(error, config)
        record(folder, state="failed", error=str(problem or f"{type(error).__name__}: {error}"))
        if problem is None or problem is error:
            raise
        raise problem from problem.__cause__


def problem_of(error: Exception, folder: RunFolder) -> UserError | None:
    """Return what a user can fix about an error that ended a run; None for a fault of the program."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        advice = "a smaller memory.capacity, num_seeds, runner.batch_size or network may help"
        return UserError(f"{folder.path}: out of memory ({one_line(error)}); {advice}")
    if isinstance(error, OSError):
        kept = "; the last checkpoint is kept" if folder.checkpoint_format() else ""
        return UserError(f"{folder.path}: {error}{kept}")
    return None


def record(folder: RunFolder, **values: Any) -> None:
    """Update the status of an active run; if it cannot be written, log that: the first error counts."""
    if not folder.is_active:
        return
    try:
        folder.update_status(**values)
    except OSError as error:
        log.error("%s: the status could not be written (%s)", folder.path, error)


@contextmanager
def interruption(*, raises: bool = True) -> Iterator[threading.Event]:
    """Make SIGTERM (a scheduler's request to stop) stop the run as Ctrl-C does; yield an event that both set.

    An exception in a signal handler is lost if the interpreter is inside a callback, such as that of a fork;
    the event then stops the run at its next step.

    Args:
        raises: whether the first signal raises KeyboardInterrupt too, as each later one does.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        again = stop.is_set()
        stop.set()
        if raises or again:
            raise KeyboardInterrupt

    numbers = [n for n in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
