"""How this thread computes: by how many threads of torch, and what it does with the tiniest numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def set_up(num_threads: int) -> None:
    """Let torch compute by so many threads, and numbers below 1.2e-38 count as 0.

    The averages of gradients that stay 0, as those of units that are never active, decay to such numbers.
    Processors take a hundred times as long for them: Adam's step took four times as long.
    """
    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)


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
