"""Shared code of the peers' programs: read the work, time the loop, report the result.

Each program is called `PROGRAM.py WORK SEED`, where WORK is a JSON object with the fields of
benchmarks.works.Work.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace


def arguments() -> tuple[SimpleNamespace, int]:
    """Return the work and the seed of the command line."""
    return SimpleNamespace(**json.loads(sys.argv[1])), int(sys.argv[2])


def timed(loop: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    loop()
    return time.process_time() - start


def report(*, steps: int, updates: int, loop: float, returns: Iterable[float]) -> None:
    """Print the result as the last line, in JSON.

    Args:
        steps: environment steps.
        updates: optimizer steps.
        loop: CPU seconds of the training loop alone.
        returns: returns of the latest training episodes, at most 100.
    """
    latest = [float(value) for value in returns]
    mean = sum(latest) / len(latest) if latest else None
    print(json.dumps({"steps": steps, "updates": updates, "loop": loop, "return": mean}))
