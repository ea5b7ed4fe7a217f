"""Settings of this process for fast and exact arithmetic, which the package of an environment may change."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from dqn.system import glibc_function, preserve_open_files, resident

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
LARGEST_KEPT = (2**28, 2**25)
"""Largest array, in bytes, whose memory malloc keeps; older C libraries accept only the second value."""
CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
MOST_KEPT = 2**30
"""Bytes of freed memory that malloc keeps in all."""


def configure_process(num_threads: int) -> None:
    """Set torch's threads and NumPy's errors, treat numbers below 1.2e-38 as 0, and keep freed memory.

    On CUDA, cuDNN takes deterministic algorithms, the same ones in each process, and cuBLAS a workspace for
    each stream, which it reads at its first product: without these a resumed run would not be exact.
    Averages of gradients that stay 0, such as those of inactive units, decay to such denormal numbers.
    Processors take a hundred times as long for them: Adam's step took four times as long.
    """
    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")  # as NumPy starts
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")  # eight buffers of 4096 KiB
    keep_memory()


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


@contextmanager
def preserve_settings() -> Iterator[None]:
    """Restore threads, the limit of open files, NumPy's errors, denormals and CUDA's settings at the end.

    malloc's thresholds stay, because the C library cannot report the old ones; they change no result.
    """
    threads, flushes = torch.get_num_threads(), flushes_denormals()
    cudnn = torch.backends.cudnn
    algorithms, workspace = (cudnn.deterministic, cudnn.benchmark), os.environ.get(CUBLAS_WORKSPACE)
    try:
        with np.errstate(), preserve_open_files():
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = algorithms
        if workspace is None:
            os.environ.pop(CUBLAS_WORKSPACE, None)
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
