"""The tracker for Weights & Biases."""

import secrets
from collections.abc import Sequence
from typing import Any

from dqn.errors import needs_extra
from dqn.tracking.trackers.service import Service, names_of
from dqn.tracking.trackers.tracker import Line, TrackedRun


class WandB(Service):
    """Sends the numbers of each seed to a W&B run, and statistics over seeds to a further one; one group.

    The package's own variables, such as WANDB_MODE=offline, hold. Its local files are in the run folder.

    Args:
        project: name of the project.
    """

    def __init__(self, *, project: str) -> None:
        super().__init__()
        with needs_extra("tracker=wandb", "wandb", "wandb"):
            import wandb
        self._wandb, self._project = wandb, project

    def check(self, run: TrackedRun, state: Any) -> None:
        if not state["id"].isalnum():
            raise ValueError(f"the id {state['id']!r} of a W&B run")

    def open(self, run: TrackedRun, at: Any, state: Any) -> None:
        self._id = state["id"] if state else secrets.token_hex(4)
        self._runs: list[Any] = []
        # a run folder with symbolic links, as that to the latest W&B run, could not be read again
        settings = self._wandb.Settings(console="off", symlink=False)
        for k, name in enumerate(names_of(run)):
            one = self._wandb.init(
                project=self._project,
                group=run.folder.absolute().name,
                name=f"{run.folder.absolute().name} {name}",
                id=f"{self._id}-{name.replace('=', '')}",
                job_type="seed" if k < len(run.seeds) else "seeds",
                config=run.config,
                dir=run.folder,
                resume="allow",
                reinit="create_new",
                settings=settings,
            )
            one.define_metric("step")
            one.define_metric("*", step_metric="step")
            self._runs.append(one)

    def send(self, seed_index: int | None, lines: Sequence[Line]) -> None:
        for line in lines:
            self._runs[-1 if seed_index is None else seed_index].log(dict(line))

    def state_dict(self) -> dict[str, Any]:
        return {"id": self._id}

    def finish(self, result: float | None) -> None:
        for one in self._runs:
            if result is not None:
                one.summary["result"] = result
            one.finish(exit_code=int(result is None))
