"""Searches: sweeps in which Optuna proposes the values of each job from the results of earlier ones."""

from dqn.sweep.search.samplers import GridSampler, MedianPruner, NoPruner, RandomSampler, TpeSampler

__all__ = ["GridSampler", "MedianPruner", "NoPruner", "RandomSampler", "TpeSampler"]
