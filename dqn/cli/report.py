"""The command line of report; unlike the other commands it needs no Hydra."""

import argparse
from pathlib import Path

from dqn.cli.output import plain_errors
from dqn.config.commands import COMMANDS, command
from dqn.errors import UserError
from dqn.report.write import write_report
from dqn.tracking.progress import waiting


def report() -> None:
    """Run `python scripts/report.py FOLDER [FOLDER ...] [--output FOLDER]`."""
    parser = argparse.ArgumentParser(prog=command("report"), description=COMMANDS["report"])
    folders = "run folders, or folders that contain run folders"
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help=folders)
    output = "the folder to write to; by default report/ in the first folder"
    parser.add_argument("--output", type=Path, metavar="FOLDER", help=output)
    arguments = parser.parse_args()
    target = arguments.output or arguments.folders[0] / "report"
    with plain_errors():
        if arguments.output is None and target.is_symlink():
            raise UserError(f"{target}: a symbolic link; choose another folder with --output")
        with waiting("reading the runs and writing the report"):
            page, about = write_report(arguments.folders, target)
        print(f"{about}\n{page}")
