"""The software and hardware that an exact repetition depends on, and the CPU time of a run."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dqn.version import __version__

PACKAGES = ("torch", "numpy", "gymnasium")


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its finished children."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def environment() -> dict[str, Any]:
    """Return the versions and the processor that an exact repetition depends on, as plain text."""
    versions = {package: version(package) for package in PACKAGES}
    return {"python": platform.python_version(), "machine": machine(), "dqn": __version__, **versions}


def machine() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{platform.machine()} {names[0] if names else platform.processor()}"


def git_revision() -> str | None:
    """Return the git revision of this package's checkout ("+": with changes); None without a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
