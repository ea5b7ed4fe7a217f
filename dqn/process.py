"""Settings of this process for fast and exact arithmetic, which the package of an environment may change."""

import ctypes
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
LARGEST_KEPT = (2**28, 2**25)
"""Largest array, in bytes, whose memory malloc keeps; older C libraries accept only the second value."""
MOST_KEPT = 2**30
"""Bytes of freed memory that malloc keeps in all."""

LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
"""Limits of a process's memory."""
STATM = Path("/proc/self/statm")
CGROUPS = Path("/sys/fs/cgroup")


def configure_process(num_threads: int) -> None:
    """Set torch's threads and NumPy's errors, treat numbers below 1.2e-38 as 0, and keep freed memory.

    Averages of gradients that stay 0, such as those of inactive units, decay to such denormal numbers.
    Processors take a hundred times as long for them: Adam's step took four times as long.
    """
    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")  # as NumPy starts
    keep_memory()


def glibc_function(name: str) -> Callable[..., int] | None:
    """Return a function of GNU's C library, or None if this process uses another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def keep_memory() -> None:
    """Make GNU's C library reuse freed memory instead of returning it to the system; this cannot be undone.

    By default it returns large arrays at once and gets new ones page by page, each filled with zeros. That
    takes half the time of an update for networks whose activations have tens of megabytes.
    """
    mallopt = glibc_function("mallopt")
    if mallopt is not None and any(mallopt(M_MMAP_THRESHOLD, largest) for largest in LARGEST_KEPT):
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT)


class MallocTrimmer:
    """Returns freed memory of this process to the system once enough of it has piled up.

    Environments that allocate memory themselves, such as Box2D's, put small objects where large arrays were,
    so that the next arrays no longer fit there. Without `trim` LunarLander took 20 GB in 100,000 steps.
    """

    def __init__(self) -> None:
        self._trim = glibc_function("malloc_trim")
        self._resident = resident()

    def trim(self) -> None:
        """Return freed memory if this process has grown by more than MOST_KEPT; needs GNU's C library."""
        if self._trim is not None and resident() > self._resident + MOST_KEPT:
            self._trim(0)
            self._resident = resident()


def resident() -> int:
    """Return the bytes of memory that this process occupies, 0 if the system does not report them."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def machine_memory() -> int:
    """Return the bytes of memory of this machine, or of what its control groups and limits leave of it."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    found += [soft for soft, _ in map(resource.getrlimit, LIMITS) if soft != resource.RLIM_INFINITY]
    groups = Path("/proc/self/cgroup")
    lines = groups.read_text().splitlines() if groups.exists() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers not in ("", "memory"):
            continue
        group = CGROUPS / controllers / path.lstrip("/")
        for folder in (group, *group.parents):
            for name in ("memory.max", "memory.limit_in_bytes"):
                with suppress(OSError, ValueError):  # "max": no limit
                    found.append(int((folder / name).read_text()))
    return min(found)


def most_open_files() -> int:
    """Return how many files this process may open after `allow_open_files`."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def allow_open_files(count: int) -> None:
    """Raise this process's own limit of open files to `count`, as far as that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, most_open_files()), hard))


@contextmanager
def preserve_settings() -> Iterator[None]:
    """Restore threads, the limit of open files, NumPy's errors and the treatment of denormals at the end.

    malloc's thresholds stay, because the C library cannot report the old ones; they change no result.
    """
    threads, flushes = torch.get_num_threads(), flushes_denormals()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with np.errstate():
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)


def flushes_denormals() -> bool:
    """Return whether this process treats numbers below 1.2e-38 as 0."""
    tiny = torch.full((), 1e-30, dtype=torch.float32, device="cpu")
    return float(tiny * 1e-10) == 0.0


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Have torch make tensors of float32, even if the package of an environment has set another dtype."""
    before = torch.get_default_dtype()
    if before == torch.float32:  # setting it takes a while
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
