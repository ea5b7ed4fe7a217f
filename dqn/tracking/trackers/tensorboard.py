"""The tracker that writes TensorBoard events: to the folder of each seed, and to that of the run."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dqn.storage.folder import RunFolder
from dqn.storage.schema import Count, checked
from dqn.system import sync_folder
from dqn.tracking import tensorboard as board
from dqn.tracking.files import check_size
from dqn.tracking.tensorboard import Events, event_files
from dqn.tracking.trackers.tracker import Line, TrackedRun, Tracker
from dqn.types import Array, Position


class TensorBoard(Tracker):
    """Writes events for TensorBoard: numbers, histograms, and the configuration as text and for HPARAMS."""

    def check(self, run: TrackedRun, state: Any) -> None:
        folders = folders_of(run)
        sizes = checked(dict[str, list[dict[str, Count]]], state)["events"]
        for folder, known in zip(folders, sizes, strict=True):
            for path in event_files(folder):
                check_size(path, known.get(path.name, 0))

    def open(self, run: TrackedRun, at: Sequence[Position], state: Any) -> None:
        several = len(run.seeds) > 1
        name = "/".join(run.folder.absolute().parts[-2:])
        about = [
            board.layout(len(run.seeds)),
            board.config_text(run.config),
            # in the folder with the statistics over seeds, if there are several: HPARAMS displays those
            board.hparams(run.config, RunFolder(run.folder).read_overrides(), name),
        ]
        of_seed = [] if several else about
        folders = folders_of(run)
        self._events: list[Events] = []
        self._per_seed = len(run.seeds)
        for k, folder in enumerate(folders):
            folder.mkdir(exist_ok=True)
            sizes = state["events"][k] if state else {}
            step = (at[k].step if state else 0) if k < len(run.seeds) else mean_step(at)
            header = of_seed if k < len(run.seeds) else about
            self._events.append(Events(folder, sizes, step, header))
            sync_folder(folder)

    def log(self, seed_index: int | None, lines: Sequence[Line]) -> None:
        events = self._events[self._per_seed if seed_index is None else seed_index]
        for line in lines:
            events.scalars(int(line["step"]), {tag: x for tag, x in line.items() if "/" in tag})

    def histogram(self, seed_index: int, step: int, tag: str, values: Array) -> None:
        self._events[seed_index].add(step, [board.histogram(tag, values)])

    def flush(self) -> None:
        for events in self._events:
            events.flush()

    def state_dict(self) -> dict[str, Any]:
        self.flush()
        return {"events": [events.sizes() for events in self._events]}

    def close(self) -> None:
        with ExitStack() as stack:
            for events in self._events:
                stack.callback(events.close)


def folders_of(run: TrackedRun) -> list[Path]:
    """Return the folders with events: one for each seed and, with several seeds, that of the run."""
    return [*(run.folder / f"seed={seed}" for seed in run.seeds), *[run.folder] * (len(run.seeds) > 1)]


def mean_step(at: Sequence[Position]) -> int:
    """Return the mean step of the seeds, at which the statistics over seeds are logged."""
    return sum(position.step for position in at) // len(at)
