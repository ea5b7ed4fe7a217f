"""How users start the commands: as scripts of a checkout, or as the programs that a wheel installs."""

import shlex
import shutil
import sys
from pathlib import Path

from dqn.config.paths import CONF

COMMANDS = {
    "resume": "Continue an interrupted run from its last checkpoint, as if it had not been interrupted.",
    "evaluate": "Play fresh episodes with a run's policies and write RUN/evaluation.json.",
    "report": "Write a report on all runs in some folders, with curves and intervals over seeds.",
    "export": "Write a policy to a file for other programs: observations [B, ...] to action values [B, A].",
    "check": "Check that the parts of a configuration, such as your own, do what the other parts rely on.",
}
"""The commands beside train, and what they do."""


def is_script() -> bool:
    """Return whether this program is a script of the checkout."""
    return Path(sys.argv[0]).resolve().parent == CONF.parent / "scripts"


def is_command() -> bool:
    """Return whether this program is a command, rather than Python code that imports this package."""
    return is_script() or Path(sys.argv[0]).name.startswith("dqn-")


def command(name: str) -> str:
    """Return how to start a command of this package, in the form in which the user started this program."""
    program = Path(sys.argv[0])
    if is_script():
        return f"{beside_python('python')} {shlex.quote(str(program.with_name(f'{name}.py')))}"
    return typed(program.with_name(f"dqn-{name}"))


def beside_python(name: str) -> str:
    """Return how to start a program of this Python's environment, even if that is not activated."""
    return typed(Path(sys.executable).with_name(name))


def typed(program: Path) -> str:
    """Return a program's name if the shell finds it by that or the file does not exist, else its path."""
    found = shutil.which(program.name)
    if not program.exists() or (found and Path(found).parent == program.parent):
        return program.name
    return shlex.quote(str(relative(program)))


def relative(path: Path) -> Path:
    """Return a path as the user would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
