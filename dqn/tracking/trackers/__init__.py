"""Trackers, the options of the group `tracker`, and the base class of custom ones."""

from dqn.tracking.trackers.csv import CSV
from dqn.tracking.trackers.mlflow import MLflow
from dqn.tracking.trackers.tensorboard import TensorBoard
from dqn.tracking.trackers.tracker import Line, TrackedRun, Tracker
from dqn.tracking.trackers.wandb import WandB

__all__ = ["CSV", "Line", "MLflow", "TensorBoard", "TrackedRun", "Tracker", "WandB"]
