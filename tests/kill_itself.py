"""Run a script that kills its own process: python kill_itself.py update|checkpoint N SCRIPT [ARGUMENT ...].

It dies inside the N-th update, or when half of the N-th file of its checkpoints is written.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

from dqn.agent.optimizer import Adam
from dqn.storage.checkpoint import Checkpoint, Entry, Part


def kill(where: str) -> None:
    print(f"killed inside {where}", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def kill_inside_update(number: int) -> None:
    calls = []
    step = Adam.step

    def last(self: Adam) -> None:  # gradients are computed, parameters have not changed yet
        calls.append(1)
        if len(calls) == number:
            kill(f"update {number}")
        step(self)

    Adam.step = last  # type: ignore[method-assign]


def kill_inside_checkpoint(number: int) -> None:
    calls = []
    store = Checkpoint._store

    def half(self: Checkpoint, part: Part, stem: str, before: list[Entry]) -> list[Entry]:
        entries = store(self, part, stem, before)
        calls.append(stem)
        if len(calls) == number:
            path = self.folder / entries[-1]["name"]
            os.truncate(path, path.stat().st_size // 2)
            kill(f"the writing of {path.name}")
        return entries

    Checkpoint._store = half  # type: ignore[method-assign]


if __name__ == "__main__":
    kind, number, script = sys.argv[1:4]
    {"update": kill_inside_update, "checkpoint": kill_inside_checkpoint}[kind](int(number))
    sys.argv = sys.argv[3:]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")
