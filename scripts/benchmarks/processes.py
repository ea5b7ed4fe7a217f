"""Run whole processes and measure their cost."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
"""Environment variables that limit every library to one thread; recorded with the results."""


def as_usual() -> dict[str, str]:
    """Return this process's environment variables with one thread; Python may cache compiled modules."""
    mine = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return mine | ONE_THREAD


class Cost(NamedTuple):
    """Time used by a process and the children that it waited for."""

    cpu: float  # seconds, user and system
    wall: float  # seconds


def run(command: Sequence[str], folder: Path) -> tuple[Cost, str]:
    """Run a command on one thread; return its cost and its standard output.

    Raises:
        SystemExit: the command failed; the message has the end of its output.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        start = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, env=as_usual(), stdout=out, stderr=error)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            child.wait()
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        out.seek(0)
        error.seek(0)
        text, complaint = out.read(), error.read()
    if child.returncode != 0:
        name = Path(command[1]).name if len(command) > 1 else command[0]
        sys.exit(f"{name} failed with exit code {child.returncode}:\n{complaint[-2000:]}{text[-500:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall), text
