"""Train: python scripts/train.py [GROUP=OPTION ...] [KEY=VALUE ...] [-m]."""

import checkout  # noqa: F401 (first: it finds the package)

from dqn.cli.main import train

if __name__ == "__main__":
    train()
