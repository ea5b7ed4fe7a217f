"""Sweeps: many runs, each a process of its own, in one folder that the same command goes on with."""
