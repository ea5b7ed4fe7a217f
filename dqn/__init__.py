"""Deep Q-learning experiments: composed from YAML, run for many seeds at once, resumed exactly."""

__version__ = "0.1.0"
