"""The report as a page that needs nothing else, and as Markdown."""

import base64
import html
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dqn.report import tables
from dqn.report.analysis import MAX_CHARTED, Analysis
from dqn.report.charts import CROWDED, EFFECTS
from dqn.report.formatting import counted
from dqn.report.read import RunRecord
from dqn.report.tables import Table

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
    "Each seed gives one score. The interquartile mean (IQM) is the mean of what is left when the lowest and"
    " the highest quarter of the scores are cut off. Intervals are 95 % percentile intervals of the bootstrap"
    " over seeds, pointwise in curves; a resample of several settings draws from each on its own. P(X > Y) is"
    " the probability that a seed of X scores more than one of Y, ties counting half; a difference paired by"
    " seed draws the same seeds for both. After Agarwal et al. (2021), arXiv 2108.13264. Returns are sums of"
    " the environment's own rewards: evaluation returns those of the greedy policy on fresh episodes,"
    " training returns those of the policy as it explored."
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A heading with a text, perhaps a picture and a table; `folded`: for who wants to know."""

    title: str
    text: str = ""
    picture: str = ""
    table: Table | None = None
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A task, or what concerns all runs."""

    title: str
    parts: list[Part]


def task_chapter(analysis: Analysis, pictures: set[str]) -> Chapter:
    """Return the chapter of a task; `pictures` have been drawn."""
    few = f" Only the {MAX_CHARTED} best settings are shown." if len(analysis.scores) > MAX_CHARTED else ""
    texts = {
        "scores": "The interquartile mean over seeds of what finished runs ended with." + few,
        "curves": "Interquartile mean over seeds with its interval; dotted where not all seeds have got."
        " Training: the mean return of the episodes that ended in each hundredth of the time." + few,
        "profile": "The share of seeds that reach more than a return R, of up to"
        f" {CROWDED} settings with intervals. Higher is better." + few,
        "improvement": "How probable it is that one setting scores more than another, seed against seed; bold"
        " where the interval, which is in the table, leaves out 0.5." + few,
        "effects": "The interquartile mean and its interval of all scores with a value, whatever the other"
        f" keys are. Where the sweep is not a full grid, other keys play into it. Up to {EFFECTS} keys"
        " are drawn.",
    }
    titles = {
        "scores": "Final scores",
        "curves": "Learning curves",
        "profile": "Performance profile",
        "improvement": "Probability of improvement",
        "effects": "Effect of each swept key",
    }
    filled = {"scores": tables.scores_table(analysis)}
    if analysis.pairs:
        filled["improvement"] = tables.pairs_table(analysis.pairs)
    if analysis.effects:
        filled["effects"] = tables.effects_table(analysis)
    parts = [
        Part(title=titles[n], text=texts[n], picture=n if n in pictures else "", table=filled.get(n))
        for n in titles
        if n in pictures or n in filled
    ]
    if analysis.task.varying:
        parts.append(Part(title="Settings that differ", table=tables.settings_table(analysis)))
    common = tables.common_table(analysis.task)
    parts.append(Part(title="What all settings share", table=common, folded=True))
    return Chapter(title=analysis.task.name, parts=parts)


def runs_chapter(runs: Sequence[RunRecord]) -> Chapter:
    """Return what concerns all runs."""
    failures, commands = tables.failures_table(runs), tables.commands_table(runs)
    known = [run.cpu_seconds for run in runs if run.cpu_seconds is not None]
    spent = f"{tables.duration(sum(known))} of CPU time in {len(known)} of {len(runs)} runs." if known else ""
    return Chapter(
        title="Runs",
        parts=[
            Part(
                title="Failures",
                text="" if failures.rows else "None.",
                table=failures if failures.rows else None,
            ),
            Part(
                title="Commands",
                text="" if commands.rows else "The runs do not record the commands that made them.",
                table=commands if commands.rows else None,
            ),
            Part(title="Versions", table=tables.versions_table(runs)),
            Part(
                title=f"All {counted(len(runs), 'run')}",
                text=spent,
                table=tables.runs_table(runs),
                folded=len(runs) > 20,
            ),
            Part(title="How the numbers are made", text=METHOD),
        ],
    )


def summary(analyses: Sequence[Analysis], runs: Sequence[RunRecord]) -> str:
    """Return what the report is about in a line."""
    settings = sum(len(analysis.scores) for analysis in analyses)
    seeds = sum(len(score.setting.seeds) for analysis in analyses for score in analysis.scores)
    names = [analysis.task.name for analysis in analyses]
    listed = ", ".join(names[:5]) + ("…" if len(names) > 5 else "")
    parts = f"{counted(len(runs), 'run')} with {counted(seeds, 'seed')} of {counted(settings, 'setting')}"
    return f"{parts} on {listed}"


def html_page(
    chapters: Sequence[Chapter], pictures: dict[str, bytes], *, about: str, notes: Sequence[str]
) -> Iterator[str]:
    """Yield the page in pieces.

    Args:
        chapters: the tasks, and the runs.
        pictures: PNGs by chapter and name, "chapter/name".
        about: one line.
        notes: what to know first.
    """
    yield HEAD.format(title=f"Report: {html.escape(about)}", style=CSS)
    yield f"<h1>Report</h1><p>{html.escape(about)}. Made {time.strftime('%Y-%m-%d %H:%M %Z')}.</p>\n"
    links = (f'<a href="#c{i}">{html.escape(chapter.title)}</a>' for i, chapter in enumerate(chapters))
    yield f"<nav>{' · '.join(links)}</nav>\n"
    if notes:
        items = "".join(f"<li>{html.escape(note)}</li>\n" for note in notes)
        yield f'<div class="notes"><strong>Read this first</strong><ul>{items}</ul></div>\n'
    for i, chapter in enumerate(chapters):
        yield f'<h2 id="c{i}">{html.escape(chapter.title)}</h2>\n'
        for part in chapter.parts:
            yield from html_part(part, pictures.get(f"{i}/{part.picture}"))


def html_part(part: Part, picture: bytes | None) -> Iterator[str]:
    title, text = html.escape(part.title), html.escape(part.text)
    yield f"<details><summary>{title}</summary>\n" if part.folded else f"<h3>{title}</h3>\n"
    if picture is not None:
        data = base64.b64encode(picture).decode()
        yield f'<figure><img alt="{title}: {text}" src="data:image/png;base64,{data}">'
        yield f"<figcaption>{text}</figcaption></figure>\n"
    elif text:
        yield f"<p>{text}</p>\n"
    if part.table is not None:
        yield part.table.html()
    yield "</details>\n" if part.folded else "\n"


def markdown_page(
    chapters: Sequence[Chapter], files: dict[str, str], *, about: str, notes: Sequence[str]
) -> Iterator[str]:
    """Yield the report as Markdown; `files` has the names of the pictures' files."""
    yield f"# Report\n\n{tables.escape_markdown(about)}.\n\n"
    for note in notes:
        yield f"- {tables.escape_markdown(note)}\n"
    for i, chapter in enumerate(chapters):
        yield f"\n## {tables.escape_markdown(chapter.title)}\n"
        for part in chapter.parts:
            yield f"\n### {tables.escape_markdown(part.title)}\n\n"
            if file := files.get(f"{i}/{part.picture}"):
                yield f"![{tables.escape_markdown(part.title)}]({file})\n\n"
            if part.text:
                yield f"{tables.escape_markdown(part.text)}\n\n"
            if part.table is not None:
                yield part.table.markdown() + "\n"
