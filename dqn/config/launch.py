"""One run in its folder: adopt what is there, go on, and leave a status that tells what happened."""

import logging
import math
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dqn.config.commands import beside_python, command
from dqn.config.trust import own_packages
from dqn.errors import UserError
from dqn.stats import interquartile_mean
from dqn.storage.flatten import leaves
from dqn.storage.folder import RunFolder
from dqn.storage.provenance import environment, git_revision

log = logging.getLogger(__name__)
TOTALS = ("runner.total_steps", "runner.total_episodes")


def launch(config: dict[str, Any], folder: RunFolder, overrides: list[str], warnings: list[str]) -> float:
    """Train the run of `folder` to its end and return its result.

    Args:
        config: resolved and checked.
        folder: new, or that of a run with the same configuration (or a smaller total), which then goes on.
        overrides: the words of the command, for the record.
        warnings: shown to the user.

    Raises:
        UserError: the folder is another run's or in use, or the run failed; its status says so too.
    """
    with folder.locked():
        if finished(config, folder):
            return tell(folder)
        if folder.config_file.exists():
            refuse_differences(config, folder)
            from dqn.storage.checkpoint import Checkpoint

            Checkpoint(folder.path).verify()
        else:
            refuse_others_files(folder)
        with status_of(folder, config), interruption() as stop:
            adopt(config, folder, overrides)
            for warning in warnings:
                log.warning("warning: %s", warning)
            log.info("run folder: %s", folder.path)
            from dqn.config.build import build

            runner = build(config, folder)
            runner.stop = stop
            result = runner.run()
            folder.update_status(
                state="finished",
                result=result,
                evaluation=runner.logger.evaluation,
                best=runner.selected(),
                progress=runner.progress(),
            )
        return tell(folder)


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


def refuse_differences(config: dict[str, Any], folder: RunFolder) -> None:
    """Raise UserError unless `config` is the folder's own, or it with a larger total."""
    old, new = dict(leaves(folder.read_config())), dict(leaves(config))
    changes = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if key in TOTALS and isinstance(before, int) and isinstance(after, int) and after >= before:
            continue
        if before != after or (key in old) != (key in new):
            changes.append(f"{key}: {before} there, {after} here")
    if changes:
        advice = "only a larger total may be given; another hydra.run.dir makes a new run"
        raise UserError(
            "\n  ".join([f"{folder.path}: a run with another configuration ({advice}):", *changes])
        )


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


def tell(folder: RunFolder) -> float:
    """Say where a finished run lies, what it reached and what can be done next; return its result."""
    status = folder.stored_status()
    if status.get("progress", {}).get("updates") == 0:
        log.warning("warning: no update was made; see runner.learning_starts and runner.train_period")
    kind = "evaluation" if status.get("evaluation") else "latest training"
    log.info("finished: interquartile mean of the %s returns over seeds: %.2f", kind, status["result"])
    if status.get("best"):
        scores = [one["mean_return"] for one in status["best"]["seeds"].values()]
        told = "best periodic evaluation of each seed (selected, so biased upwards): interquartile mean %.2f"
        log.info(told, interquartile_mean(scores))
    log.info("run folder: %s", folder.path)
    config = folder.read_config()
    path, trust = shlex.quote(str(folder.path)), trusting(config)
    log.info("  %s --logdir %s", beside_python("tensorboard"), path)
    log.info("  %s %s episodes=100%s", command("evaluate"), path, trust)
    for key, total in leaves(config):
        if key in TOTALS and not ends_learning(config, total):
            log.info("  %s %s %s=%d%s", command("resume"), path, key, 2 * total, trust)
    return float(status["result"])


def trusting(config: dict[str, Any]) -> str:
    """Return the words by which a command trusts the packages of the user's own in a run."""
    return "".join(f" --trust {shlex.quote(name)}" for name in own_packages(config))


def ends_learning(config: dict[str, Any], total: int) -> bool:
    """Return whether the learning rate is 0 from `total` on."""
    schedule = config["agent"]["lr_schedule"]
    return bool(schedule.get("end") == 0 and schedule.get("duration", math.inf) <= total)


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
