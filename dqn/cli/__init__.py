"""The commands: train, resume, evaluate, export, check and report."""
