"""Read the results of a run: each seed's metrics.jsonl, which may be damaged, and its scores."""

import json
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeGuard

from dqn.storage.folder import RunFolder, State

RECENT_EPISODES = 100
"""Training episodes over which a seed's return is averaged, both while it trains and as its score."""
BLOCK_BYTES = 1_000_000
"""Bytes of metrics.jsonl that are parsed at once."""


class Block(NamedTuple):
    """Consecutive lines of metrics.jsonl."""

    lines: list[dict[str, Any]]
    damaged: int
    """Number of lines that were left out because they are not JSON objects."""
    torn: bool
    """Whether the file ends within a line, because the run was killed or is writing it; not in `damaged`."""


def metrics_file(run: Path, seed: int) -> Path:
    return run / f"seed={seed}" / "metrics.jsonl"


def read_blocks(metrics: Path) -> Iterator[Block]:
    """Yield metrics.jsonl in blocks.

    Raises:
        OSError: the file cannot be read.
    """
    with metrics.open("rb") as file:
        while lines := file.readlines(BLOCK_BYTES):
            yield parse_block(lines)


def read_lines(metrics: Path) -> Iterator[dict[str, Any]]:
    """Yield the undamaged lines of metrics.jsonl, none if it cannot be read."""
    with suppress(OSError):
        for block in read_blocks(metrics):
            yield from block.lines


def parse_block(lines: list[bytes]) -> Block:
    try:
        values = json.loads(b"[" + b",".join(lines) + b"]")  # one call is twice as fast as one per line
    except (ValueError, RecursionError):
        values = [parse_line(line) for line in lines]
    objects = [value for value in values if isinstance(value, dict)]
    torn = not lines[-1].endswith(b"\n") and not isinstance(values[-1], dict)
    return Block(objects, len(values) - len(objects) - torn, torn)


def parse_line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def is_number(value: object) -> TypeGuard[float]:
    """Return whether `value` is a number that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def evaluation_scores(status: State) -> dict[int, float]:
    """Return each seed's mean return in the final evaluation recorded in a status."""
    stored = status.get("evaluation")
    means = {}
    for seed, returns in stored.items() if isinstance(stored, dict) else ():
        whole = isinstance(returns, list) and returns and all(map(is_number, returns))
        if whole and re.fullmatch(r"\d{1,18}", seed):
            means[int(seed)] = math.fsum(returns) / len(returns)
    return means


def training_scores(run: Path, seeds: Iterable[int]) -> dict[int, float]:
    """Return the mean return of each seed's last training episodes, without the seeds that finished none."""
    means = {}
    for seed in seeds:
        returns = (line.get("train/return") for line in read_lines(metrics_file(run, seed)))
        if recent := deque(filter(is_number, returns), maxlen=RECENT_EPISODES):
            means[seed] = fmean(recent)
    return means


def final_scores(folder: RunFolder, seeds: Iterable[int]) -> list[float]:
    """Return the scores of a finished run, from its final evaluation or, if it has none, from training.

    Their interquartile mean is the result of the run.
    """
    scores = evaluation_scores(folder.stored_status()) or training_scores(folder.path, seeds)
    return list(scores.values())
