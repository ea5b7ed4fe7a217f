"""Searches: sweeps in which Optuna proposes the values of a job from the results of those before it."""

from dqn.sweep.search.samplers import Grid, Median, Never, Random, Tpe

__all__ = ["Grid", "Median", "Never", "Random", "Tpe"]
