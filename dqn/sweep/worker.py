"""The process of a job: python -m dqn.sweep.worker, with the specification on its standard input."""

import logging
import os
import pickle
import signal
import sys
import threading

from dqn.config.preflight import CheckedRun
from dqn.config.summary import summary
from dqn.errors import InUse, UserError
from dqn.storage.folder import RunFolder
from dqn.sweep.job import IN_USE, JobSpec


def work(spec: JobSpec) -> int:
    """Train a run to its end, from its last checkpoint if it has one; return the exit code.

    Messages are printed.
    """
    sys.argv = spec.argv
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    from dqn.config.launch import launch

    run = CheckedRun(
        config=spec.config,
        folder=RunFolder(spec.folder),
        overrides=spec.overrides,
        warnings=spec.warnings,
    )
    try:
        launch(run)
        print("\n".join(summary(run.folder)), flush=True)
    except UserError as error:
        print(error, flush=True)
        return IN_USE if isinstance(error, InUse) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def end_with_the_sweep() -> None:
    """End this process, as an interrupted run, when the one that holds the other end of the pipe is gone.

    That is so however the sweep ended, by SIGKILL too: nothing goes on training unnoticed.
    """
    os.read(sys.stdin.fileno(), 1)  # returns at the pipe's end; sys.stdin itself would block the exit
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    spec = pickle.load(sys.stdin.buffer)  # of the process that started this one
    threading.Thread(target=end_with_the_sweep, daemon=True).start()
    sys.exit(work(spec))


if __name__ == "__main__":
    main()
