"""How this process computes: by how many threads, with which numbers, and with memory that it keeps."""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
LARGEST_KEPT, MOST_KEPT = (2**28, 2**25), 2**30
"""Bytes: of one array whose memory is kept for the next one, in older C libraries the second; and of all."""

STATM = Path("/proc/self/statm")


def configure_process(num_threads: int) -> None:
    """Set torch's number of threads, count numbers below 1.2e-38 as 0, and keep freed memory.

    The averages of gradients that stay 0, as those of units that are never active, decay to such numbers.
    Processors take a hundred times as long for them: Adam's step took four times as long.
    """
    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    keep_memory()


def of_malloc(name: str) -> Callable[..., int] | None:
    """Return a function that only GNU's C library has, None where the process has another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def keep_memory() -> None:
    """Let this process use freed memory again instead of giving it back, where its C library is GNU's.

    That would give large arrays back at once and get new ones page by page, each filled with zeros: half of
    an update's time for networks whose activations have tens of megabytes. There is no way back to that.
    """
    mallopt = of_malloc("mallopt")
    if mallopt is not None and any(mallopt(M_MMAP_THRESHOLD, largest) for largest in LARGEST_KEPT):
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT)


class MallocTrimmer:
    """Returns freed memory of this process to the system once enough of it has piled up.

    An environment that allocates by itself, such as Box2D's, puts its small objects where large arrays were:
    the next arrays do not fit there any more. Without `trim` LunarLander took 20 GB in 100,000 steps.
    """

    def __init__(self) -> None:
        self._trim = of_malloc("malloc_trim")
        self._resident = resident()

    def trim(self) -> None:
        """Return freed memory if this process has grown by more than MOST_KEPT; with GNU's C library only."""
        if self._trim is not None and resident() > self._resident + MOST_KEPT:
            self._trim(0)
            self._resident = resident()


def resident() -> int:
    """Return the bytes of this process in memory, 0 where the system does not tell."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@contextmanager
def kept() -> Iterator[None]:
    """Put the threads and the tiniest numbers back at the end as they were.

    malloc's thresholds stay: the C library cannot report what they were. The process goes on keeping freed
    memory, which changes no result.
    """
    threads, flushes = torch.get_num_threads(), flushes_denormals()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)


def flushes_denormals() -> bool:
    """Return whether numbers below 1.2e-38 count as 0."""
    return float(torch.full((), 1e-30) * 1e-10) == 0.0
