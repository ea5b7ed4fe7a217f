"""Starts a script again in the checkout's .venv if this Python lacks the package; each script imports this.

So `python scripts/train.py` works after `make train`, without an activated environment. An environment that
has the package is used as it is. This file works in any Python 3.
"""

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"


def use_package() -> None:
    """Continue in an environment that has the package, or exit with how to install it."""
    if importlib.util.find_spec("dqn") and importlib.util.find_spec("hydra"):
        return
    lacking = f"{sys.executable} lacks this package"
    is_there = Path(sys.executable) == PYTHON or Path(sys.prefix).resolve() == VENV.resolve()
    if PYTHON.exists() and not is_there:
        if "VIRTUAL_ENV" in os.environ or "CONDA_PREFIX" in os.environ:  # the user chose another one
            print(f"{lacking}; continuing with {PYTHON}", file=sys.stderr, flush=True)
        arguments = getattr(sys, "orig_argv", [sys.executable, *sys.argv])[1:]
        os.execv(str(PYTHON), [str(PYTHON), *arguments])
    install = f"{PYTHON} -m pip install -c {ROOT / 'constraints.txt'} -e {ROOT}"
    sys.exit(f"{lacking}. To install it: make train, or python3 -m venv {VENV} && {install}")


use_package()
