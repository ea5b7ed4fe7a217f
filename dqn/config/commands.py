"""How users start the commands: as scripts of a checkout, or as the programs that a wheel installs."""

import shutil
import sys
from pathlib import Path

from omegaconf import OmegaConf

from dqn.config.paths import CONF
from dqn.system import quoted


def command(name: str) -> str:
    """Return how to start a command of this package, in the form in which the user started this program."""
    program = Path(sys.argv[0])
    if program.resolve().parent == CONF.parent / "scripts":
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


# In Hydra's help template $ has a meaning.
OmegaConf.register_new_resolver("command", lambda name: command(name).replace("$", "$$"))
