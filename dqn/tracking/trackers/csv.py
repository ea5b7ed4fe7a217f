"""A tracker that writes one table of all numbers, metrics.csv in the run folder."""

import os
from collections.abc import Sequence
from typing import Any

from dqn.storage.schema import Count, checked
from dqn.system import sync_folder
from dqn.tracking.files import check_size, cut
from dqn.tracking.trackers.tracker import Line, TrackedRun, Tracker

COLUMNS = "seed,step,episode,update,tag,value\n"
FILE = "metrics.csv"


class CSV(Tracker):
    """Writes a row for each number; `seed`, `episode` and `update` are empty in statistics over seeds."""

    def check(self, run: TrackedRun, state: Any) -> None:
        check_size(run.folder / FILE, checked(dict[str, Count], state)["bytes"])

    def open(self, run: TrackedRun, at: Any, state: Any) -> None:
        path = run.folder / FILE
        self._seeds = run.seeds
        path.touch()
        cut(path, state["bytes"] if state else 0)
        self._file = path.open("ab")
        sync_folder(run.folder)
        if not state:
            self._file.write(COLUMNS.encode())

    def log(self, seed_index: int | None, lines: Sequence[Line]) -> None:
        seed = "" if seed_index is None else self._seeds[seed_index]
        for line in lines:
            row = f"{seed},{line['step']},{line.get('episode', '')},{line.get('update', '')}"
            for tag, value in line.items():
                if "/" in tag:
                    self._file.write(f"{row},{tag},{value}\n".encode())

    def flush(self) -> None:
        self._file.flush()

    def state_dict(self) -> dict[str, Any]:
        self.flush()
        os.fsync(self._file.fileno())
        return {"bytes": self._file.tell()}

    def close(self) -> None:
        self._file.close()
