"""Try the parts of a configuration: python scripts/check.py [GROUP=OPTION ...] [KEY=VALUE ...]."""

from dqn.cli.main import check

if __name__ == "__main__":
    check()
