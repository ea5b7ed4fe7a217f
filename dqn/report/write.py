"""From run folders to the files of a report."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from dqn.errors import UserError
from dqn.report import charts, style
from dqn.report.analysis import analyse
from dqn.report.caveats import notes
from dqn.report.page import html_page, markdown_page, runs_chapter, summary, task_chapter
from dqn.report.read import Run, find_runs, read_run
from dqn.report.settings import sort_runs
from dqn.report.tables import scores_csv
from dqn.storage.durable_files import replace_file


def write_report(folders: Sequence[Path], output: Path) -> tuple[Path, str]:
    """Write report.html, report.md, report.csv and pictures; return the page's path and what it is about.

    Args:
        folders: run folders, or folders with such anywhere below; they are only read.
        output: the folder of the report, made if it is missing.

    Raises:
        UserError: there are no readable runs, or the files cannot be written, or Matplotlib is missing.
    """
    style.require()
    runs, unreadable = read_runs(find_runs(folders))
    analyses = [analyse(task) for task in sort_runs(runs)]
    pictures: dict[str, bytes] = {}
    files: dict[str, str] = {}
    chapters = []
    for i, analysis in enumerate(analyses):
        drawn = dict(charts.draw(analysis))
        prefix = f"{i + 1}-{slug(analysis.task.name)}-" if len(analyses) > 1 else ""
        pictures |= {f"{i}/{name}": picture for name, picture in drawn.items()}
        files |= {f"{i}/{name}": f"{prefix}{name}.png" for name in drawn}
        chapters.append(task_chapter(analysis, set(drawn)))
    chapters.append(runs_chapter(runs))
    about, told = summary(analyses, runs), list(notes(analyses, runs, unreadable))
    texts = {
        "report.html": "".join(html_page(chapters, pictures, about=about, notes=told)),
        "report.md": "".join(markdown_page(chapters, files, about=about, notes=told)),
        "report.csv": scores_csv(analyses),
    }
    write_files(output, texts, {files[key]: picture for key, picture in pictures.items()})
    return output / "report.html", about


def read_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Return the runs, and what is wrong with folders that are none.

    Raises:
        UserError: all are none.
    """
    runs: list[Run] = []
    unreadable: list[str] = []
    for path in paths:
        try:
            runs.append(read_run(path))
        except UserError as error:
            unreadable.append(str(error))
        except OSError as error:
            unreadable.append(f"{path}: {error.strerror or error}")
    if not runs:
        raise UserError("\n  ".join(["none of the runs can be read:", *unreadable[:10]]))
    return runs, unreadable


def slug(name: str) -> str:
    """Return a name for a file."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:60].strip("._") or "task"


def write_files(output: Path, texts: dict[str, str], pictures: dict[str, bytes]) -> None:
    """Write the files of a report; what is a link is not followed.

    Raises:
        UserError: they cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in (*texts, *(f"{name}.tmp" for name in texts), *pictures):
            if (output / name).is_symlink():
                raise UserError(f"{output / name}: a symbolic link; writing would follow it")
        for name, picture in pictures.items():
            (output / name).write_bytes(picture)
        for name, text in texts.items():
            replace_file(output / name, text)
    except OSError as error:
        raise UserError(f"{output}: the report cannot be written ({error})") from None


def main() -> None:
    """Run `python scripts/report.py FOLDER [FOLDER ...] [--output FOLDER]`."""
    parser = argparse.ArgumentParser(description="Write a report on all runs in some folders.")
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="run folders, or folders of such"
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
