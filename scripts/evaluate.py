"""Evaluate a run's policy: python scripts/evaluate.py RUN [episodes=100]."""

import checkout  # noqa: F401 (first: it finds the package)

from dqn.cli.main import evaluate

if __name__ == "__main__":
    evaluate()
