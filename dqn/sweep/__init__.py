"""Sweeps: many runs, each in a separate process, in one folder; the same command continues them."""
