"""Searches: sweeps in which Optuna proposes the values of a job from the results of those before it."""

from dqn.sweep.search.samplers import GridSampler, MedianPruner, NoPruner, RandomSampler, TpeSampler

__all__ = ["GridSampler", "MedianPruner", "NoPruner", "RandomSampler", "TpeSampler"]
