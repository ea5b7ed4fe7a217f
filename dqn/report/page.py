"""The report as a self-contained HTML page and as Markdown."""

import base64
import html
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dqn.errors import counted
from dqn.report import tables
from dqn.report.analysis import CROWDED, EFFECTS, MAX_CHARTED, MAX_LINES, Analysis
from dqn.report.read import RunRecord
from dqn.report.settings import ABSENT, Task
from dqn.report.tables import Table, escape_markdown

CSS = """
:root { color-scheme: light dark; --text: #1a1a1a; --page: #fff; --line: #ddd; --head: #f2f5f7; --soft: #444;
  --link: #00578a; --rule: #0072B2; --note: #fff6e0; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e6e6; --page: #16181a; --line: #3a3f44;
  --head: #24282c; --soft: #b8bcc0; --link: #7cc4f0; --note: #2e2816; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); margin: 0 auto;
  max-width: 960px; padding: 1rem 2rem 4rem; }
h1 { font-size: 1.8rem; margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 2px solid var(--rule); }
h3 { margin: 2rem 0 .5rem; } nav { margin-bottom: 1rem; } p { max-width: 75ch; } a { color: var(--link); }
img { display: block; max-width: 100%; height: auto; border-radius: 4px; } figure { margin: 1rem 0; }
figcaption { color: var(--soft); margin-top: .4rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: .5rem 0 1rem; }
th, td { text-align: left; padding: .25rem .45rem; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; min-width: 4rem; } th { background: var(--head); overflow-wrap: normal; }
.long { min-width: 15rem; }
.number { min-width: 0; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { white-space: normal; }
.notes { background: var(--note); border-left: 5px solid #E69F00; padding: .5rem 1rem;
  overflow-wrap: anywhere; }
details { margin: 1rem 0; } summary { cursor: pointer; font-weight: 600; }
"""
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title><style>{style}</style></head><body>
"""
METHOD = (
    "Each seed gives one score. The interquartile mean (IQM) is the mean without the lowest and the"
    " highest quarter of the scores. Intervals are 95 % percentile intervals of the bootstrap over seeds,"
    " pointwise in curves; where settings are pooled, each is resampled separately. P(X > Y) is the"
    " probability that a seed of X scores more than one of Y; ties count half. A difference paired by seed"
    " resamples the same seeds of both. After Agarwal et al. (2021), arXiv 2108.13264. Returns are sums of"
    " the environment's own rewards: evaluation returns are those of the greedy policy on fresh episodes,"
    " training returns those of the exploring policy."
)
TITLES = {
    "scores": "Final scores",
    "curves": "Learning curves",
    "profile": "Performance profile",
    "improvement": "Probability of improvement",
    "effects": "Effect of each swept key",
}
"""Titles of the sections of a task that have a picture."""
NUMBERS = "The numbers are those of the final scores."
FOLLOWING = f"Most of them follow from the overrides in the labels. {NUMBERS}"
FOLDED_ROWS = 40
"""Rows of a table below a picture; the reader opens a longer one."""


class Picture(NamedTuple):
    """A chart and the name of its file."""

    file: str
    png: bytes


class Part(NamedTuple):
    """A section below a heading; a folded one is hidden until the reader opens it."""

    title: str
    text: str = ""
    picture: Picture | None = None
    table: Table | None = None
    folded: bool = False


Chapter = tuple[str, list[Part]]
"""The title and the sections of a task, or of those about all runs."""


def task_chapter(analysis: Analysis, pictures: Mapping[str, Picture]) -> Chapter:
    """Return the chapter of a task; `pictures` are its charts by name."""
    found = {"scores": tables.scores_table(analysis)}
    if analysis.pairs:
        found["improvement"] = tables.pairs_table(analysis.pairs)
    if (effects := tables.effects_table(analysis)).rows:
        found["effects"] = effects
    parts = []
    for name, text in captions(analysis).items():
        if name in pictures or name in found:
            parts.append(Part(TITLES[name], text, pictures.get(name), found.get(name)))
    task = analysis.task
    if len(task.keys) > 1:
        parts.append(Part("Settings", NUMBERS, table=tables.settings_table(analysis, task.keys)))
    if task.varying.keys() - task.keys:
        title = f"All {counted(len(task.varying), 'key')} of the configuration that differ"
        table = tables.settings_table(analysis, task.varying)
        parts.append(Part(title, FOLLOWING, table=table, folded=True))
    parts.append(Part("Values shared by all settings", table=tables.common_table(task), folded=True))
    return task.name, parts


def captions(analysis: Analysis) -> dict[str, str]:
    """Return the text of each section of a task."""
    task, number = analysis.task, len(analysis.scores)
    over, interval = "of its only seed", ""
    if not analysis.one_seed:
        over, interval = "of its seeds (their interquartile mean)", " with the 95 % interval"
    best = f" The picture shows the {MAX_CHARTED} best of {number} settings." if number > MAX_CHARTED else ""
    lines = f" The picture shows the {MAX_LINES} best of {number} settings." if number > MAX_LINES else ""
    return {
        "scores": f"A setting's score is the final return {over}, in runs that have finished.{best}",
        "curves": (
            f"A setting's line is the return {over}{interval}; it is dotted where some seeds have not got"
            " that far. A point of training is the mean return of the episodes that ended in a hundredth of"
            f" the time. {axis_text(task)}{best}"
        ),
        "profile": (
            "The share of seeds with a return above R; a higher line is better. Intervals are drawn for up to"
            f" {CROWDED} settings.{lines}"
        ),
        "improvement": (
            "The probability that a seed of one setting scores more than a seed of another. It is bold where"
            " its interval excludes 0.5 and the interval of the paired difference of the interquartile"
            f" means, if seeds are shared, excludes 0; the table has both.{best}"
        ),
        "effects": (
            "The interquartile mean, with its interval, of all scores with a value, or the only one,"
            " regardless of the other keys. Keys that always change together are linked; unless the sweep is"
            " a full grid, other keys have an effect too."
            f" Up to {EFFECTS} keys are drawn."
        ),
    }


def axis_text(task: Task) -> str:
    """Return a sentence about the unit of the horizontal axis."""
    if task.unit == "episode":
        return "The horizontal axis counts episodes, as the runs do."
    if all("runner.total_episodes" in setting.config for setting in task.settings):
        reason = "because the settings took different numbers of steps for their episodes"
        return f"The horizontal axis counts environment steps of a seed, {reason}."
    return "The horizontal axis counts environment steps of a seed."


def runs_chapter(runs: Sequence[RunRecord], output: Path) -> Chapter:
    """Return the chapter about all runs, with links from the folder of the report."""
    failures = tables.failures_table(runs, output)
    commands = tables.counted_table((line for run in runs for line in run.commands), "command")
    versions = (", ".join(f"{k} {v}" for k, v in run.versions.items()) or ABSENT for run in runs)
    known = [run.cpu_seconds for run in runs if run.cpu_seconds is not None]
    spent = f"{tables.duration(sum(known))} of CPU time in {len(known)} of {len(runs)} runs." if known else ""
    return "Runs", [
        Part("Failures", table=failures) if failures.rows else Part("Failures", "None."),
        Part("Commands", table=commands) if commands.rows else Part("Commands", "Not recorded."),
        Part("Versions", table=tables.counted_table(versions, "versions")),
        Part(
            f"All {counted(len(runs), 'run')}",
            spent,
            table=tables.runs_table(runs, output),
            folded=len(runs) > 20,
        ),
        Part("How the numbers are computed", METHOD),
    ]


def summary(analyses: Sequence[Analysis], runs: Sequence[RunRecord]) -> str:
    """Return the subject of the report in one line."""
    settings = sum(len(analysis.scores) for analysis in analyses)
    seeds = sum(len(score.setting.seeds) for analysis in analyses for score in analysis.scores)
    names = [analysis.task.name for analysis in analyses]
    listed = ", ".join(names[:5]) + ("…" if len(names) > 5 else "")
    parts = f"{counted(len(runs), 'run')} with {counted(seeds, 'seed')} of {counted(settings, 'setting')}"
    return f"{parts} on {listed}"


def html_page(chapters: Sequence[Chapter], *, title: str, about: str, notes: Sequence[str]) -> Iterator[str]:
    """Yield the HTML page in pieces: `title`, `about` in one line, the `notes`, then the chapters."""
    heading, made = html.escape(f"Report on {title}"), time.strftime("%Y-%m-%d %H:%M %Z")
    yield HEAD.format(title=heading, style=CSS)
    yield f"<h1>{heading}</h1><p>{html.escape(about)}. Made {made}.</p>\n"
    links = (f'<a href="#c{i}">{html.escape(name)}</a>' for i, (name, _) in enumerate(chapters))
    yield f"<nav>{' · '.join(links)}</nav>\n"
    if notes:
        items = "".join(f"<li>{html.escape(note)}</li>\n" for note in notes)
        yield f'<div class="notes"><strong>Read this first</strong><ul>{items}</ul></div>\n'
    for i, (name, parts) in enumerate(chapters):
        yield f'<h2 id="c{i}">{html.escape(name)}</h2>\n'
        for part in parts:
            yield from html_part(part)


def html_part(part: Part) -> Iterator[str]:
    title, text = html.escape(part.title), html.escape(part.text)
    yield f"<details><summary>{title}</summary>\n" if part.folded else f"<h3>{title}</h3>\n"
    if part.picture is not None:
        data = base64.b64encode(part.picture.png).decode()
        yield f'<figure><img alt="{title}: {text}" src="data:image/png;base64,{data}">'
        yield f"<figcaption>{text}</figcaption></figure>\n"
    elif text:
        yield f"<p>{text}</p>\n"
    if part.table is not None:
        rows = len(part.table.rows)
        long = rows > FOLDED_ROWS and not part.folded and part.picture is not None
        yield f"<details><summary>Table of {rows} rows</summary>" if long else ""
        yield part.table.html()
        yield "</details>" if long else ""
    yield "</details>\n" if part.folded else "\n"


def markdown_page(
    chapters: Sequence[Chapter], *, title: str, about: str, notes: Sequence[str]
) -> Iterator[str]:
    """Yield the same content as Markdown, with links to the pictures' files."""
    yield f"# Report on {escape_markdown(title)}\n\n{escape_markdown(about)}.\n\n"
    yield from (f"- {escape_markdown(note)}\n" for note in notes)
    for name, parts in chapters:
        yield f"\n## {escape_markdown(name)}\n"
        for part in parts:
            yield f"\n### {escape_markdown(part.title)}\n\n"
            if part.picture is not None:
                yield f"![{escape_markdown(part.title)}]({part.picture.file})\n\n"
            if part.text:
                yield f"{escape_markdown(part.text)}\n\n"
            if part.table is not None:
                yield part.table.markdown() + "\n"
