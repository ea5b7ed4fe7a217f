"""A job as a separate process: python -m dqn.sweep.process, with its JobSpec on standard input."""

import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

from dqn.config.preflight import CheckedRun
from dqn.errors import InUse, UserError
from dqn.storage.folder import RunFolder
from dqn.sweep.job import IN_USE, JobResult, JobSpec
from dqn.sweep.pool import GRACE_SECONDS
from dqn.system import kill_group


class Process:
    """A running job, in a separate session so that Ctrl-C in the terminal reaches only the sweep.

    Args:
        spec: the job; its folder is created.
        env: environment variables to add to those of this process.
        node: name of this machine, for the log.

    Raises:
        OSError: the folder cannot be written, or the process cannot be started.
    """

    def __init__(self, spec: JobSpec, env: dict[str, str], node: str) -> None:
        with spec.open_log(node) as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "dqn.sweep.process"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=spec.cwd,
                env=os.environ | env,
                start_new_session=True,
            )
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):  # the process has ended: its exit code is enough
            pickle.dump(spec, self._popen.stdin)
            self._popen.stdin.flush()  # and stays open: it closes when this process ends

    def ended(self) -> JobResult | None:
        code = self._popen.poll()
        if code is None:
            return None
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        self._kill_group()  # what the job left, such as a compiler or a simulator
        return JobResult(code)

    def ask_to_stop(self) -> None:
        self._popen.terminate()

    def kill(self) -> None:
        """Kill the job and the processes that it started."""
        self._kill_group()
        self._popen.wait()

    def _kill_group(self) -> None:
        kill_group(self._popen.pid)


def same_imports() -> dict[str, str]:
    """Return the environment variables with which a process imports the same modules as this one."""
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def work(spec: JobSpec) -> int:
    """Train or resume a run, print its messages and its summary, and return the exit code."""
    sys.argv = spec.argv
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    from dqn.config.launch import launch  # import NumPy; all plugins of Hydra import this file
    from dqn.config.summary import summary

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
    kill_group(os.getpid())


if __name__ == "__main__":
    job = pickle.load(sys.stdin.buffer)  # written by the parent process
    threading.Thread(target=stop_with_the_sweep, daemon=True).start()
    sys.exit(work(job))
