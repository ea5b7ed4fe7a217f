"""Train: python scripts/train.py [GROUP=OPTION ...] [KEY=VALUE ...] [-m]."""

from dqn.cli.main import train

if __name__ == "__main__":
    train()
