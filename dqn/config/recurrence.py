"""Checks of recurrent networks: of the samples that they learn from, and of the memory's size."""

from collections.abc import Callable, Iterator
from typing import Any

from dqn.config.parts import make
from dqn.memory import Sequences
from dqn.memory.ring import least_rows

Get = Callable[[str], Any]
"""Returns the value of a key; None if it is missing or wrong by itself."""


def recurrence_problems(get: Get) -> Iterator[tuple[str, str]]:
    """Yield keys of memory.reader and network that do not fit network.core, and what they should be."""
    core, reader = get("network.core"), get("memory.reader")
    if reader is None:
        return
    has_windows = windows_of(reader) is not None
    if core is not None and not has_windows:
        yield (
            "memory.reader._target_",
            "should be sequences for a recurrent core; type memory/reader=sequences",
        )
    if core is None and has_windows:
        advice = "type network/core=gru, or memory/reader=one_step or n_step"
        yield "memory.reader._target_", f"should be sequences only with a recurrent core; {advice}"
    if core is None and get("network.sees_action"):
        yield "network.sees_action", "should be false without a recurrent core; type network/core=gru"
    length, period = get("memory.reader.length"), get("memory.reader.period")
    if has_windows and length and period and period > length:
        skipped = "no window learns from the steps between two of them"
        yield "memory.reader.period", f"should be at most memory.reader.length={length}, or {skipped}"
    if should := capacity_problem(get):
        yield "memory.capacity", should


def windows_of(reader: dict[str, Any] | None) -> Sequences | None:
    """Return the reader that a node describes, if it reads windows."""
    made = None if reader is None else make(dict(reader))(gamma=1.0)
    return made if isinstance(made, Sequences) else None


def capacity_problem(get: Get) -> str | None:
    """Return what memory.capacity should be for the samples of its reader, None if it is large enough."""
    reader, capacity = get("memory.reader"), get("memory.capacity")
    if reader is None or not capacity:
        return None
    made = make(dict(reader))(gamma=1.0)
    windows = made.windows(0) if isinstance(made, Sequences) else None
    envs, stack = get("env.num_envs") or 1, get("env.frame_stack") or 1
    rows = least_rows(span=made.span, stack=stack, windows=windows)
    if capacity // envs >= rows:
        return None
    names = ["length", "period", "burn_in"] if windows else ["n_step"]
    keys = " + ".join(f"memory.reader.{name}={get(f'memory.reader.{name}')}" for name in names)
    more = rows - stack - sum(get(f"memory.reader.{name}") or 0 for name in names)
    return f"should be at least ({keys} + env.frame_stack={stack} + {more}) * env.num_envs={envs}"
