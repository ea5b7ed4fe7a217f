"""Check this installation and this machine: python scripts/doctor.py."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # last: where the package is not installed, it says so

from dqn.cli.doctor import doctor

if __name__ == "__main__":
    doctor()
