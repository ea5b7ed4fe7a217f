"""The report as a self-contained HTML page and as Markdown."""

import base64
import html
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dqn.report import tables
from dqn.report.analysis import CROWDED, EFFECTS, MAX_CHARTED, Analysis
from dqn.report.formatting import counted
from dqn.report.read import RunRecord
from dqn.report.settings import ABSENT
from dqn.report.tables import Table, escape_markdown

CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto;
  max-width: 960px; padding: 1rem 2rem 4rem; }
h1 { font-size: 1.8rem; margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 2px solid #0072B2; }
h3 { margin: 2rem 0 .5rem; } nav { margin-bottom: 1rem; } p { max-width: 75ch; } a { color: #00578a; }
img { display: block; max-width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption { color: #444; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: .5rem 0 1rem; }
th, td { text-align: left; padding: .25rem .45rem; border-bottom: 1px solid #ddd; vertical-align: top;
  overflow-wrap: anywhere; min-width: 4rem; } th { background: #f2f5f7; overflow-wrap: normal; }
.long { min-width: 11rem; }
.number { min-width: 0; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { white-space: normal; }
.notes { background: #fff6e0; border-left: 5px solid #E69F00; padding: .5rem 1rem; overflow-wrap: anywhere; }
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
BEST = f" Only the {MAX_CHARTED} best settings are shown."
SECTIONS = {
    "scores": ("Final scores", "Interquartile mean over seeds of the final returns of finished runs."),
    "curves": (
        "Learning curves",
        "Interquartile mean over seeds with its interval; dotted where some seeds have not got that far."
        " Training: the mean return of the episodes that ended in each hundredth of the time.",
    ),
    "profile": (
        "Performance profile",
        f"Share of seeds with a return above R; intervals are drawn for up to {CROWDED} settings. Higher is"
        " better.",
    ),
    "improvement": (
        "Probability of improvement",
        "Probability that a seed of one setting scores more than a seed of another. Bold: the interval, which"
        " is in the table, excludes 0.5.",
    ),
    "effects": (
        "Effect of each swept key",
        "Interquartile mean, with its interval, of all scores with a value, regardless of the other keys."
        " Keys that always change together are linked; unless the sweep is a full grid, other keys have an"
        f" effect too. Up to {EFFECTS} keys are drawn.",
    ),
}
"""Title and text of each section of a task."""


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
    for name, (title, text) in SECTIONS.items():
        if name in pictures or name in found:
            best = BEST if len(analysis.scores) > MAX_CHARTED and name != "effects" else ""
            parts.append(Part(title, text + best, pictures.get(name), found.get(name)))
    if analysis.task.varying:
        parts.append(Part("Settings that differ", table=tables.settings_table(analysis)))
    parts.append(Part("Values shared by all settings", table=tables.common_table(analysis.task), folded=True))
    return analysis.task.name, parts


def runs_chapter(runs: Sequence[RunRecord]) -> Chapter:
    """Return the chapter about all runs."""
    failures = tables.failures_table(runs)
    commands = tables.counted_table((line for run in runs for line in run.commands), "command")
    versions = (", ".join(f"{k} {v}" for k, v in run.versions.items()) or ABSENT for run in runs)
    known = [run.cpu_seconds for run in runs if run.cpu_seconds is not None]
    spent = f"{tables.duration(sum(known))} of CPU time in {len(known)} of {len(runs)} runs." if known else ""
    return "Runs", [
        Part("Failures", table=failures) if failures.rows else Part("Failures", "None."),
        Part("Commands", table=commands) if commands.rows else Part("Commands", "Not recorded."),
        Part("Versions", table=tables.counted_table(versions, "versions")),
        Part(f"All {counted(len(runs), 'run')}", spent, table=tables.runs_table(runs), folded=len(runs) > 20),
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


def html_page(chapters: Sequence[Chapter], *, about: str, notes: Sequence[str]) -> Iterator[str]:
    """Yield the HTML page in pieces: `about` in one line, then the `notes`, then the chapters."""
    yield HEAD.format(title=f"Report: {html.escape(about)}", style=CSS)
    yield f"<h1>Report</h1><p>{html.escape(about)}. Made {time.strftime('%Y-%m-%d %H:%M %Z')}.</p>\n"
    links = (f'<a href="#c{i}">{html.escape(title)}</a>' for i, (title, _) in enumerate(chapters))
    yield f"<nav>{' · '.join(links)}</nav>\n"
    if notes:
        items = "".join(f"<li>{html.escape(note)}</li>\n" for note in notes)
        yield f'<div class="notes"><strong>Read this first</strong><ul>{items}</ul></div>\n'
    for i, (title, parts) in enumerate(chapters):
        yield f'<h2 id="c{i}">{html.escape(title)}</h2>\n'
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
        yield part.table.html()
    yield "</details>\n" if part.folded else "\n"


def markdown_page(chapters: Sequence[Chapter], *, about: str, notes: Sequence[str]) -> Iterator[str]:
    """Yield the same content as Markdown, with links to the pictures' files."""
    yield f"# Report\n\n{escape_markdown(about)}.\n\n"
    yield from (f"- {escape_markdown(note)}\n" for note in notes)
    for title, parts in chapters:
        yield f"\n## {escape_markdown(title)}\n"
        for part in parts:
            yield f"\n### {escape_markdown(part.title)}\n\n"
            if part.picture is not None:
                yield f"![{escape_markdown(part.title)}]({part.picture.file})\n\n"
            if part.text:
                yield f"{escape_markdown(part.text)}\n\n"
            if part.table is not None:
                yield part.table.markdown() + "\n"
