"""A job as a separate process."""

import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress

from dqn.sweep.job import JobResult, JobSpec


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
                [sys.executable, "-m", "dqn.sweep.worker"],
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
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)


def same_imports() -> dict[str, str]:
    """Return the environment variables with which a process imports the same modules as this one."""
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
