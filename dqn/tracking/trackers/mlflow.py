"""The tracker for MLflow."""

import time
from collections.abc import Sequence
from typing import Any

from dqn.errors import UserError, needs_extra
from dqn.storage.flatten import settings
from dqn.storage.schema import checked
from dqn.tracking.trackers.service import Service, names_of
from dqn.tracking.trackers.tracker import Line, TrackedRun

BATCH = 1000
"""Numbers that MLflow takes at once."""
PARAMETERS = 100
"""Parameters that MLflow takes at once."""
LONGEST = 6000
"""Characters of a parameter that MLflow takes."""


class MLflow(Service):
    """Sends the numbers of each seed to an MLflow run, and statistics over seeds to a further one.

    MLflow's own variables, such as MLFLOW_TRACKING_URI, say where to.

    Args:
        experiment: name of the experiment.
    """

    def __init__(self, *, experiment: str) -> None:
        super().__init__()
        with needs_extra("tracker=mlflow", "mlflow", "mlflow"):
            import mlflow
        self._mlflow, self._experiment = mlflow, experiment

    def check(self, run: TrackedRun, state: Any) -> None:
        runs = checked(dict[str, list[str]], state)["runs"]
        if len(runs) != len(names_of(run)):
            raise ValueError(f"{len(runs)} MLflow runs for {len(names_of(run))}")

    def open(self, run: TrackedRun, at: Any, state: Any) -> None:
        self._client = self._mlflow.MlflowClient()
        self._runs: list[str] = state["runs"] if state else self._create(run)
        for one in self._runs:
            try:
                self._client.update_run(one, status="RUNNING")
            except self._mlflow.MlflowException as error:
                where = self._mlflow.get_tracking_uri()
                raise UserError(f"tracker.mlflow: no run {one} at {where} ({error})") from None

    def _create(self, run: TrackedRun) -> list[str]:
        """Create an MLflow run for each seed and, with several, one for their statistics."""
        from mlflow.entities import Param

        experiment = self._client.get_experiment_by_name(self._experiment)
        id = experiment.experiment_id if experiment else self._client.create_experiment(self._experiment)
        parameters = [Param(key, str(value)[:LONGEST]) for key, value in settings(run.config)]
        runs = []
        for name in names_of(run):
            folder = run.folder.absolute()
            tags = {"folder": str(folder), "group": folder.name}
            one = self._client.create_run(id, tags=tags, run_name=f"{folder.name} {name}").info.run_id
            for i in range(0, len(parameters), PARAMETERS):
                self._client.log_batch(one, params=parameters[i : i + PARAMETERS])
            runs.append(one)
        return runs

    def send(self, seed_index: int | None, lines: Sequence[Line]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(tag, value, now, int(line["step"]))
            for line in lines
            for tag, value in line.items()
            if tag != "step"
        ]
        one = self._runs[-1 if seed_index is None else seed_index]
        for i in range(0, len(metrics), BATCH):
            self._client.log_batch(one, metrics=metrics[i : i + BATCH])

    def state_dict(self) -> dict[str, Any]:
        return {"runs": self._runs}

    def finish(self, result: float | None) -> None:
        for one in self._runs:
            if result is not None:
                self._client.log_metric(one, "result", result)
            self._client.set_terminated(one, "KILLED" if result is None else "FINISHED")
