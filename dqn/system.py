"""The functions that differ between Linux, macOS and Windows; no other module asks which it runs on."""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

with suppress(ImportError):  # Windows
    import resource

MEMORY_LIMITS = ("RLIMIT_AS", "RLIMIT_DATA")
"""Limits of a process's memory."""
STATM = Path("/proc/self/statm")
CGROUPS = Path("/sys/fs/cgroup")
REPLACE_SECONDS = 5.0
"""Seconds for which Windows is asked again to replace a file that another process reads."""
SHELL_OF_WINDOWS = frozenset(" \t\"'&|<>^%(),;=@`$#{}[]")
"""Characters that cmd or PowerShell gives a meaning."""


def glibc_function(name: str) -> Callable[..., int] | None:
    """Return a function of GNU's C library, or None if this process uses another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def resident() -> int:
    """Return the bytes of memory that this process occupies, 0 if the system does not report them."""
    if sys.platform == "linux":
        with suppress(OSError):
            return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def machine_memory() -> int:
    """Return the bytes of memory of this machine, or of what its control groups and limits leave of it.

    On Windows, where this is not known, it is the largest integer of the machine.
    """
    if sys.platform == "win32":
        return sys.maxsize
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    softs = [resource.getrlimit(getattr(resource, name))[0] for name in MEMORY_LIMITS]
    found += [soft for soft in softs if soft != resource.RLIM_INFINITY]
    for folder in control_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # "max": no limit
                found.append(int((folder / name).read_text()))
    return min(found)


def control_groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups of Linux, each before those above it."""
    groups = Path("/proc/self/cgroup")
    lines = groups.read_text().splitlines() if groups.exists() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers == "" or controller in controllers.split(","):
            group = CGROUPS / controllers / path.lstrip("/")
            yield from (group, *group.parents)


def usable_cores() -> float:
    """Return how many cores this process may use, by its affinity and the quotas of its control groups."""
    found = [float(os.cpu_count() or 1)]
    if sys.platform == "linux":
        found.append(len(os.sched_getaffinity(0)))
    for folder in control_groups("cpu"):
        with suppress(OSError, ValueError):  # "max": no quota
            quota, period = (int(number) for number in (folder / "cpu.max").read_text().split())
            found.append(quota / period)
        with suppress(OSError, ValueError):  # version 1; -1: no quota
            quota = int((folder / "cpu.cfs_quota_us").read_text())
            if quota > 0:
                found.append(quota / int((folder / "cpu.cfs_period_us").read_text()))
    return min(found)


def is_tested() -> bool:
    """Return whether the tests run on this kind of system."""
    return sys.platform == "linux"


def most_open_files() -> int:
    """Return how many files this process may open after `allow_open_files`."""
    if sys.platform == "win32":
        return sys.maxsize
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def allow_open_files(count: int) -> None:
    """Raise this process's own limit of open files to `count`, as far as that is allowed."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < count:
        with suppress(ValueError):  # macOS has a lower limit than the one that it reports
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, most_open_files()), hard))


@contextmanager
def preserve_open_files() -> Iterator[None]:
    """Restore this process's own limit of open files at the end."""
    if sys.platform == "win32":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def sync_folder(folder: Path) -> None:
    """Make the names of new and replaced files in a folder durable; Windows cannot do that."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Replace a file by another one; on Windows, wait while another process reads it."""
    deadline = time.monotonic() + REPLACE_SECONDS
    while True:
        try:
            source.replace(target)
            return
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def remove(path: Path) -> None:
    """Remove a file that is no longer needed, if it is there; on Windows, leave one that a process reads."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        if sys.platform != "win32":
            raise


def lead_group() -> None:
    """Make this process the leader of a new group, with all processes that it starts from now on."""
    if sys.platform != "win32":
        os.setsid()


def kill_group(pid: int) -> None:
    """Kill a process that leads a group, and the group: all that it started. It may have ended already."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], capture_output=True, check=False)
        return
    with suppress(OSError):  # the group is empty
        os.killpg(pid, signal.SIGKILL)


def find_compiler() -> str | None:
    """Return the path of the C++ compiler that torch would use; None if there is none."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


def compiler_problem() -> str | None:
    """Return why this system has no C++ compiler that torch can use; None if it has one."""
    if sys.platform == "win32":
        return "compiling was not tried on Windows"
    if find_compiler() is None:
        return "no C++ compiler was found; install g++ or set CXX to another compiler"
    return None


def quoted(word: str) -> str:
    """Return a word as it is typed in a shell: a POSIX one, or PowerShell and cmd on Windows."""
    if sys.platform != "win32":
        return shlex.quote(word)
    return f'"{word}"' if not word or SHELL_OF_WINDOWS & set(word) else word
