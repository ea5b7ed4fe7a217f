"""The commands: train, resume, evaluate, export and check."""
