"""Read run folders and write the files of a report."""

import re
from collections.abc import Sequence
from pathlib import Path

from dqn.errors import UserError, file_problem
from dqn.report.analysis import analyse
from dqn.report.caveats import notes
from dqn.report.page import Picture, html_page, markdown_page, runs_chapter, summary, task_chapter
from dqn.report.read import RunRecord, find_runs, read_record
from dqn.report.settings import sort_runs, title_of
from dqn.report.tables import scores_csv
from dqn.storage.durable_files import replace_file


def write_report(folders: Sequence[Path], output: Path) -> tuple[Path, str]:
    """Write report.html, report.md, report.csv and pictures; return the page's path and its subject.

    Args:
        folders: run folders, or folders that contain some at any depth; they are only read.
        output: the folder of the report; created if missing.

    Raises:
        UserError: no run can be read, or the files cannot be written.
    """
    from dqn.report import charts

    runs, unreadable = read_runs(find_runs(folders))
    analyses = [analyse(task) for task in sort_runs(runs)]
    chapters = []
    pictures: list[Picture] = []
    for i, analysis in enumerate(analyses):
        prefix = f"{i + 1}-{slug(analysis.task.name)}-" if len(analyses) > 1 else ""
        drawn = {name: Picture(f"{prefix}{name}.png", png) for name, png in charts.draw(analysis)}
        chapters.append(task_chapter(analysis, drawn))
        pictures += drawn.values()
    chapters.append(runs_chapter(runs, output))
    title, about = title_of(runs), summary(analyses, runs)
    caveats = list(notes(analyses, runs, unreadable))
    texts = {
        "report.html": "".join(html_page(chapters, title=title, about=about, notes=caveats)),
        "report.md": "".join(markdown_page(chapters, title=title, about=about, notes=caveats)),
        "report.csv": scores_csv(analyses),
    }
    write_files(output, texts, pictures)
    return output / "report.html", about


def read_runs(paths: Sequence[Path]) -> tuple[list[RunRecord], list[str]]:
    """Return the runs, and a message for each folder that cannot be read.

    Raises:
        UserError: none can be read.
    """
    runs, unreadable = [], []
    for path in paths:
        try:
            runs.append(read_record(path))
        except UserError as error:
            unreadable.append(str(error))
        except OSError as error:
            unreadable.append(f"{path}: {file_problem(error)}")
    if not runs:
        raise UserError("\n  ".join(["none of the runs can be read:", *unreadable[:10]]))
    return runs, unreadable


def slug(name: str) -> str:
    """Return `name` as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:60].strip("._") or "task"


def write_files(output: Path, texts: dict[str, str], pictures: Sequence[Picture]) -> None:
    """Write the files of a report.

    Raises:
        UserError: a file cannot be written, or is a symbolic link.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in (*texts, *(file for file, _ in pictures)):
            if (output / name).is_symlink():
                raise UserError(f"{output / name}: a symbolic link; writing would follow it")
        for name, png in pictures:
            (output / name).write_bytes(png)
        for name, text in texts.items():
            replace_file(output / name, text)
    except OSError as error:
        raise UserError(f"{output}: the report cannot be written ({error})") from None
