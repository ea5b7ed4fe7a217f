"""A job as a process of its own."""

import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress

from dqn.sweep.job import JobResult, JobSpec


class Process:
    """A job at work in a session of its own, so that a Ctrl-C in the terminal reaches the sweep alone.

    Args:
        spec: what to run; its folder is made.
        env: variables beside those of this process.
        node: names this machine in the log.

    Raises:
        OSError: the folder cannot be written, or there are no more processes to be had.
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
        with suppress(BrokenPipeError):  # it has ended already: its exit code tells
            pickle.dump(spec, self._popen.stdin)
            self._popen.stdin.flush()  # and left open: its end is that of this process

    def ended(self) -> JobResult | None:
        """Return how it ended, None while it works."""
        code = self._popen.poll()
        if code is None:
            return None
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        return JobResult(code)

    def ask_to_stop(self) -> None:
        """Let the job end as an interrupted run."""
        self._popen.terminate()

    def kill(self) -> None:
        """End the job and what it has started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()


def same_imports() -> dict[str, str]:
    """Return the variables that let a process find the modules that this one does."""
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
