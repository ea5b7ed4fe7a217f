"""The process of a job: python -m dqn.sweep.worker, with its JobSpec on standard input."""

import logging
import os
import pickle
import signal
import sys
import threading
import time

from dqn.config.preflight import CheckedRun
from dqn.config.summary import summary
from dqn.errors import InUse, UserError
from dqn.storage.folder import RunFolder
from dqn.sweep.job import IN_USE, JobSpec
from dqn.sweep.pool import GRACE_SECONDS


def work(spec: JobSpec) -> int:
    """Train or resume a run, print its messages and its summary, and return the exit code."""
    sys.argv = spec.argv
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    from dqn.config.launch import launch

    folder = RunFolder(spec.folder)
    try:
        launch(
            CheckedRun(config=spec.config, folder=folder, overrides=spec.overrides, warnings=spec.warnings)
        )
        print("\n".join(summary(folder)), flush=True)
    except UserError as error:
        print(error, flush=True)
        return IN_USE if isinstance(error, InUse) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def stop_with_the_sweep() -> None:
    """Stop this process as an interrupted run when the sweep's process is gone, even if it was killed.

    If it does not stop, it is killed after GRACE_SECONDS.
    """
    os.read(sys.stdin.fileno(), 1)  # returns when the pipe closes; sys.stdin itself would block the exit
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    spec = pickle.load(sys.stdin.buffer)  # written by the parent process
    threading.Thread(target=stop_with_the_sweep, daemon=True).start()
    sys.exit(work(spec))


if __name__ == "__main__":
    main()
