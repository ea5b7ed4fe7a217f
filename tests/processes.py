"""Processes that a test starts, watches and kills."""

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SEED = int(os.environ.get("DQN_TEST_SEED", random.SystemRandom().randrange(10**6)))
"""Seed of the random moments at which tests kill; they print it."""


class Process:
    """A running script in a separate process group."""

    def __init__(self, *command: object) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.text = ""

    def wait_for(self, pattern: str) -> str:
        """Read the output until a line matches; return that line."""
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.text += line
            if re.search(pattern, line):
                return line
        raise AssertionError(f"no {pattern!r} in:\n{self.text}")

    def finish(self) -> int:
        """Return the exit code, negative for a signal."""
        text, _ = self.popen.communicate(timeout=240)
        self.text += text
        return self.popen.returncode

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)


@contextmanager
def started(*command: object) -> Iterator[Process]:
    process = Process(*command)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.kill()
        process.finish()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def command_of(pid: int) -> str:
    """Return the command of a process, or the title that it has given itself; nothing if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    return ""


def wait_until(condition: Callable[[], bool], about: Callable[[], object] = lambda: "") -> None:
    """Wait for two minutes at most, since a busy machine is slow; a failure says what `about` returns."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, about()
        time.sleep(0.02)


def open_files(pid: int) -> str:
    """Return the paths of the files that a process has open, including its output."""
    paths = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            paths.append(os.readlink(link))
        except OSError:
            continue
    return " ".join(paths)


def assert_ended(jobs: list[int]) -> None:
    """Assert that processes exit, and soon."""
    assert jobs
    wait_until(lambda: not any(map(alive, jobs)), lambda: [*map(command_of, filter(alive, jobs))])
