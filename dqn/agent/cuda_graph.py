"""A function of tensors as one CUDA graph: starting its kernels one by one takes longer than they compute."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Results = Sequence[Tensor]
Record = Callable[[Callable[[], Results]], tuple[Results, Callable[[], None]]]
"""Runs a function; returns its results and a call that computes them again, in the same memory."""

WARM_UPS = 3
"""Calls before the recording, in which libraries get their workspaces and kernels are tuned."""


def replayed(
    function: Callable[..., Results], own: Sequence[Tensor], record: Record
) -> Callable[..., Results]:
    """Return a function that copies its arguments to the tensors `own` and computes `function` of those.

    The results are in the same memory at each call, so the next call overwrites them.
    """
    results, replay = record(lambda: function(*own))

    def call(*given: Tensor) -> Results:
        for mine, new in zip(own, given, strict=True):
            mine.copy_(new, non_blocking=True)
        replay()
        return results

    return call


def record_on(device: torch.device) -> Record:
    """Return what records functions on a CUDA device, whose kernels must not need the CPU in between."""

    def record(function: Callable[[], Results]) -> tuple[Results, Callable[[], None]]:
        with torch.cuda.device(device):
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    function()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                results = function()
        return results, graph.replay

    return record
