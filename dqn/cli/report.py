"""The command line of report; unlike the others it needs no Hydra."""

import argparse
import sys
from pathlib import Path

from dqn.errors import UserError
from dqn.report.write import write_report


def report() -> None:
    """Run `python scripts/report.py FOLDER [FOLDER ...] [--output FOLDER]`."""
    parser = argparse.ArgumentParser(description="Write a report on all runs in some folders.")
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="run folders, or folders that contain some"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="by default report/ in the first folder"
    )
    arguments = parser.parse_args()
    output = arguments.output or arguments.folders[0] / "report"
    try:
        if arguments.output is None and output.is_symlink():
            raise UserError(f"{output}: a symbolic link; --output names another folder")
        page, about = write_report(arguments.folders, output)
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"{about}\n{page}")
