"""The run folder: its lock, status, configuration and checkpoints."""
