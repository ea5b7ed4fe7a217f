"""Run a script that kills its own process: python kill_itself.py update|checkpoint N SCRIPT [WORD ...].

It comes to its end inside the N-th update, or with half of the N-th file of its checkpoints written.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

from dqn.agent.optimizer import Adam
from dqn.storage.checkpoint import Checkpoint, Entry, Part


def kill(place: str) -> None:
    print(f"killed inside {place}", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def kill_inside_update(number: int) -> None:
    calls = []
    step = Adam.step

    def last(self: Adam) -> None:  # the gradients are there, the parameters are as they were
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
    place, number, script = sys.argv[1:4]
    {"update": kill_inside_update, "checkpoint": kill_inside_checkpoint}[place](int(number))
    sys.argv = sys.argv[3:]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")
