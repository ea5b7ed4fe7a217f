"""A job as a process of its own."""

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress

from dqn.config.sweep.job import LOG, End, SweepJob


class Process:
    """A job at work in a session of its own, so that a Ctrl-C in the terminal reaches the sweep alone.

    Args:
        job: checked; its folder is made.
        env: variables beside those of this process.

    Raises:
        OSError: the folder cannot be written, or there are no more processes to be had.
    """

    def __init__(self, job: SweepJob, env: dict[str, str]) -> None:
        assert job.folder is not None
        job.folder.path.mkdir(parents=True, exist_ok=True)
        with (job.folder.path / LOG).open("a") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(job.overrides or ())}\n")
            log.flush()
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "dqn.config.sweep.work"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=same_imports() | env,
                start_new_session=True,
            )
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already: its exit code tells
            pickle.dump(job.order(sys.argv), self._popen.stdin)
            self._popen.stdin.flush()  # and left open: its end is that of this process

    def ended(self) -> End | None:
        """Return how it ended, None while it works."""
        code = self._popen.poll()
        return None if code is None else End(code)

    def ask_to_stop(self) -> None:
        """Let the job end as an interrupted run."""
        self._popen.terminate()

    def kill(self) -> None:
        """End the job and what it has started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()


def same_imports() -> dict[str, str]:
    """Return the variables of a process that finds the modules that this one does."""
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)
    return os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
