"""Searches: sweeps in which Optuna proposes the values of a job from the results of those before it."""
