"""How this process computes: by how many threads, with which numbers, and with memory that it keeps."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
LARGEST_KEPT, MOST_KEPT = (2**28, 2**25), 2**30
"""Bytes: of one array whose memory is kept for the next one, in older C libraries the second; and of all."""


def set_up(num_threads: int) -> None:
    """Let torch compute by so many threads, and numbers below 1.2e-38 count as 0; keep freed memory.

    The averages of gradients that stay 0, as those of units that are never active, decay to such numbers.
    Processors take a hundred times as long for them: Adam's step took four times as long.
    """
    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    keep_memory()


def keep_memory() -> None:
    """Let this process use freed memory again instead of giving it back, where its C library is GNU's.

    That would give large arrays back at once and get new ones page by page, each filled with zeros: half of
    an update's time for networks whose activations have tens of megabytes. There is no way back to that.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None and any(mallopt(M_MMAP_THRESHOLD, largest) for largest in LARGEST_KEPT):
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT)


@contextmanager
def kept() -> Iterator[None]:
    """Put everything back at the end as it was."""
    threads, flushes = torch.get_num_threads(), flushes_denormals()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)


def flushes_denormals() -> bool:
    """Return whether numbers below 1.2e-38 count as 0."""
    return float(torch.full((), 1e-30) * 1e-10) == 0.0
