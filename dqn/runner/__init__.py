"""The loop and what runs in it: the clock, evaluation, the best policies, videos."""

from dqn.runner.clock import Clock, EpisodesClock, StepsClock
from dqn.runner.evaluator import Evaluator
from dqn.runner.runner import Runner

__all__ = ["Clock", "EpisodesClock", "Evaluator", "Runner", "StepsClock"]
