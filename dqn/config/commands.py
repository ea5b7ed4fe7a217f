"""How the commands of this package are started: as scripts of the checkout, or as what a wheel installs."""

import shlex
import shutil
import sys
from pathlib import Path

from omegaconf import OmegaConf

from dqn.config.paths import CONF


def command(name: str) -> str:
    """Return how a command of this package is started, in the way in which this program was."""
    program = Path(sys.argv[0])
    if program.resolve().parent == CONF.parent / "scripts":
        return f"{beside_python('python')} {shlex.quote(str(program.with_name(f'{name}.py')))}"
    return typed(program.with_name(f"dqn-{name}"))


def beside_python(name: str) -> str:
    """Return how a program of this Python's environment is started, also where that is not activated."""
    return typed(Path(sys.executable).with_name(name))


def typed(program: Path) -> str:
    """Return the name of a program if that finds it or it is not there, else its path."""
    found = shutil.which(program.name)
    if not program.exists() or (found and Path(found).parent == program.parent):
        return program.name
    is_below = program.is_relative_to(Path.cwd())
    return shlex.quote(str(program.relative_to(Path.cwd()) if is_below else program))


def in_template(name: str) -> str:
    """Return a command as Hydra's help template needs it."""
    return command(name).replace("$", "$$")


OmegaConf.register_new_resolver("command", in_template)
