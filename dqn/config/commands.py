"""How users start the commands: as scripts of a checkout, or as the programs that a wheel installs."""

import shutil
import sys
from pathlib import Path

from dqn.config.paths import CONF
from dqn.storage.runs import newest, runs_in
from dqn.system import quoted

COMMANDS = {
    "resume": "Continue an interrupted run from its last checkpoint, as if it had not been interrupted.",
    "evaluate": "Play fresh episodes with a run's policies and write RUN/evaluation.json.",
    "report": "Write a report on all runs in some folders, with curves and intervals over seeds.",
    "export": "Write a policy to a file for other programs: observations [B, ...] to action values [B, A].",
    "check": "Check that the parts of a configuration, such as your own, do what the other parts rely on.",
    "doctor": "Check this installation and this machine: versions, extras, compiler, devices, memory, disk.",
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
        return f"{beside_python('python')} {quoted(str(program.with_name(f'{name}.py')))}"
    return typed(program.with_name(f"dqn-{name}"))


def beside_python(name: str) -> str:
    """Return how to start a program of this Python's environment, even if that is not activated."""
    return typed(Path(sys.executable).with_name(name))


def typed(program: Path) -> str:
    """Return a program's name if the shell finds it by that or the file does not exist, else its path."""
    found = shutil.which(program.name)
    if not program.exists() or (found and Path(found).parent == program.parent):
        return program.name
    return quoted(str(relative(program)))


def relative(path: Path) -> Path:
    """Return a path as the user would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def newest_here() -> str:
    """Return the end of a sentence that names the newest run in outputs/, or nothing if there is none."""
    run = newest(list(runs_in(Path("outputs"))))
    return f"; the newest run here is {quoted(str(run))}" if run else ""


def no_run(folder: Path) -> str:
    """Return the message about a folder that is no run folder: the runs in it, or the newest run here."""
    if not folder.is_dir():
        return f"{folder}: not a run folder, there is no such folder{newest_here()}"
    runs = list(runs_in(folder))
    if (run := newest(runs)) is None:
        return f"{folder}: not a run folder, .hydra/config.yaml is missing{newest_here()}"
    where, last = (quoted(str(relative(one))) for one in (folder, run))
    several = f", the newest of {len(runs)} there; {command('report')} {where} compares them"
    return f"{folder}: not a run folder; type {last}{several if len(runs) > 1 else ''}"
