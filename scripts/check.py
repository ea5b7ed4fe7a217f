"""Try the parts of a configuration: python scripts/check.py [GROUP=OPTION ...] [KEY=VALUE ...]."""

import checkout  # noqa: F401 (first: it finds the package)

from dqn.cli.main import check

if __name__ == "__main__":
    check()
