"""Read the results of a run: each seed's metrics.jsonl, which may be damaged, and its scores."""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import IO, TYPE_CHECKING, NamedTuple

from dqn.storage.folder import RunFolder
from dqn.storage.reader import open_file

if TYPE_CHECKING:
    from dqn.storage.schema import Line, Status

RECENT_EPISODES = 100
"""Training episodes over which a seed's return is averaged, both while it trains and as its score."""
BLOCK_BYTES = 1_000_000
"""Bytes of metrics.jsonl that are parsed at once, and greatest length of a line."""
MAX_BYTES = 2**33
"""Largest metrics.jsonl that is read; a run of ten million episodes writes a quarter of that."""


class Block(NamedTuple):
    """Consecutive lines of metrics.jsonl."""

    lines: "list[Line]"
    damaged: int
    """Number of lines that were left out because they are not JSON objects of finite numbers."""
    torn: bool
    """Whether the block ends within a line; not in `damaged`, because a run may be writing the last block."""


def metrics_file(seed: int) -> str:
    """Return the path of a seed's metrics in the run folder."""
    return f"seed={seed}/metrics.jsonl"


def read_blocks(run: Path, seed: int) -> Iterator[Block]:
    """Yield the metrics.jsonl of a seed in blocks.

    Raises:
        OSError: the file cannot be read.
    """
    with open_file(run, metrics_file(seed), MAX_BYTES) as file:
        while lines := read_some(file):
            yield parse_block(lines)


def read_some(file: IO[bytes]) -> list[bytes]:
    """Return the next lines; of a longer line than BLOCK_BYTES only pieces, which are damaged lines."""
    lines, size = [], 0
    while size < BLOCK_BYTES and (line := file.readline(BLOCK_BYTES)):
        lines.append(line)
        size += len(line)
    return lines


def read_lines(run: Path, seed: int) -> "Iterator[Line]":
    """Yield the undamaged lines of a seed's metrics.jsonl, none if it cannot be read."""
    with suppress(OSError):
        for block in read_blocks(run, seed):
            yield from block.lines


def last_line(run: Path, seed: int, start: int) -> "Line":
    """Return the last undamaged line after the first `start` bytes of a seed's metrics.jsonl, {} if none."""
    with suppress(OSError), open_file(run, metrics_file(seed), MAX_BYTES) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - BLOCK_BYTES))
        if (lines := file.readlines()) and (whole := parse_block(lines).lines):
            return whole[-1]
    return {}


def parse_block(lines: list[bytes]) -> Block:
    from dqn.storage.schema import Line, adapter  # imports pydantic

    def parse_line(line: bytes) -> Line | None:
        try:
            value: Line = adapter(Line).validate_json(line)
            return value
        except ValueError:
            return None

    values: list[Line | None]
    try:
        values = adapter(list[Line]).validate_json(b"[" + b",".join(lines) + b"]")  # faster than by line
    except ValueError:
        values = [parse_line(line) if line.startswith(b"{") else None for line in lines]
    whole = [value for value in values if value is not None]
    torn = not lines[-1].endswith(b"\n") and values[-1] is None
    return Block(whole, len(values) - len(whole) - torn, torn)


def evaluations(run: Path, seed: int) -> int:
    """Return the number of a seed's periodic evaluations."""
    with suppress(OSError), open_file(run, metrics_file(seed), MAX_BYTES) as file:
        return sum(b'"eval/return"' in line for line in file)
    return 0


def evaluation_scores(status: "Status") -> dict[int, float]:
    """Return each seed's mean return in the final evaluation recorded in a status.

    Seeds with a return that is not finite are left out.
    """
    means = {}
    for seed, returns in (status.get("evaluation") or {}).items():
        finite = [one for one in returns if one is not None]
        if len(finite) == len(returns):
            means[int(seed)] = math.fsum(finite) / len(finite)
    return means


def training_scores(run: Path, seeds: Iterable[int]) -> dict[int, float]:
    """Return the mean return of each seed's last training episodes, without the seeds that finished none."""
    means = {}
    for seed in seeds:
        returns = (line["train/return"] for line in read_lines(run, seed) if "train/return" in line)
        if recent := deque(returns, maxlen=RECENT_EPISODES):
            means[seed] = fmean(recent)
    return means


def final_scores(folder: RunFolder, seeds: Iterable[int]) -> list[float]:
    """Return the scores of a finished run, from its final evaluation or, if it has none, from training.

    Their interquartile mean is the result of the run.
    """
    scores = evaluation_scores(folder.stored_status()) or training_scores(folder.path, seeds)
    return list(scores.values())
