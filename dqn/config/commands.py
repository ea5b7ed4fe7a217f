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
        return f"python {shlex.quote(str(program.with_name(f'{name}.py')))}"
    installed = program.with_name(f"dqn-{name}")
    if shutil.which(installed.name) is None and installed.exists():
        return shlex.quote(str(installed))
    return installed.name


def in_template(name: str) -> str:
    """Return a command as Hydra's help template needs it."""
    return command(name).replace("$", "$$")


OmegaConf.register_new_resolver("command", in_template)
