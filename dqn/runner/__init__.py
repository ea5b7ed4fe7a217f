"""The training loop and what it runs: clock, collector, evaluation, best policies, videos, callbacks."""

from dqn.runner.callbacks import Callback, Training
from dqn.runner.clock import Clock, EpisodesClock, StepsClock
from dqn.runner.evaluator import Evaluator
from dqn.runner.runner import Runner

__all__ = ["Callback", "Clock", "EpisodesClock", "Evaluator", "Runner", "StepsClock", "Training"]
