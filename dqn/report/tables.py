"""The tables of a report, as data and in HTML, Markdown and CSV."""

import csv
import html
import io
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from dqn.atari_scores import players_of
from dqn.errors import one_line
from dqn.report.analysis import MAX_LINES, Analysis, Pair
from dqn.report.formatting import short_name, to_number
from dqn.report.read import RunRecord
from dqn.report.settings import ABSENT, Task
from dqn.stats import Estimate
from dqn.storage.metrics import RECENT_EPISODES

LONG = frozenset({"setting", "X", "Y", "run", "key", "command", "versions", "reason"})
"""Headers of columns that need a minimum width."""
MAX_COLUMNS = 5
"""Keys that are the columns of a table."""


class Table(NamedTuple):
    """Rows of texts below a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Set[int] = frozenset()
    """Indices of right-aligned columns."""
    links: Sequence[str] = ()
    """Addresses of the first cells of the rows, if they are links."""

    def html(self) -> str:
        classes = [' class="long"' if text in LONG else "" for text in self.header]
        for i in self.numbers:
            classes[i] = ' class="number"'

        def line(tag: str, texts: Iterable[str]) -> str:
            cells = (f"<{tag}{c}>{text}</{tag}>" for c, text in zip(classes, texts, strict=True))
            return f"<tr>{''.join(cells)}</tr>"

        def cells(i: int) -> Iterator[str]:
            first, *others = map(html.escape, self.rows[i])
            yield f'<a href="{html.escape(self.links[i])}">{first}</a>' if self.links else first
            yield from others

        # A non-breaking space keeps "%" off the start of a line.
        head = line("th", (html.escape(text).replace(" %", "&nbsp;%") for text in self.header))
        body = "".join(f"{line('td', cells(i))}\n" for i in range(len(self.rows)))
        return f'<div class="wide"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>'

    def markdown(self) -> str:
        rules = ["---:" if i in self.numbers else "---" for i in range(len(self.header))]
        header, *rows = ([*map(escape_markdown, row)] for row in (self.header, *self.rows))
        for row, link in zip(rows, self.links, strict=bool(self.links)):
            row[0] = f"[{row[0]}]({link})"
        return "\n".join(f"| {' | '.join(row)} |" for row in (header, rules, *rows))


def escape_markdown(text: str) -> str:
    """Return a text that Markdown displays unchanged."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$!&])", r"\\\1", text)


def scores_table(analysis: Analysis) -> Table:
    """Return the scores of each setting, also as human-normalised scores in games where they are known."""
    players = players_of(analysis.task.settings[0].config.get("env.id", ""))
    rows = []
    for i, score in enumerate(analysis.scores):
        seeds = score.setting.seeds.values()
        finished = f"{sum(run.state == 'finished' for run, _ in seeds)} of {len(seeds)}"
        intervals = [interval_text(score.iqm.get(kind)) for kind in ("evaluation", "training")]
        found = np.array(list(score.returns[analysis.kind].values()))
        numbers = [ABSENT] * 3
        if found.size:
            numbers = [f"{found.mean():.1f}", f"{np.median(found):.1f}"]
            numbers += [f"{found.min():.1f} to {found.max():.1f}"]
        cells = [str(i + 1), score.setting.label, finished, *intervals, *numbers]
        if players is not None:
            main = score.iqm.get(analysis.kind)
            cells.append(interval_text(main and Estimate(*map(players.normalized, main)), ".3f"))
        rows.append([*cells, duration(score.cpu_seconds)])
    header = ["", "setting", "seeds finished", "evaluation return [95 %]"]
    header += [f"training return, last {RECENT_EPISODES} [95 %]", f"{analysis.kind}: mean", "median"]
    header += ["lowest to highest", *(["human-normalised [95 %]"] if players else []), "CPU time"]
    return Table(header, rows, {0, *range(3, len(header))})


def interval_text(found: Estimate | None, form: str = ".1f") -> str:
    if found is None:
        return ABSENT
    ends = f"[{found.low:{form}}, {found.high:{form}}]" if np.isfinite(found.low) else "[one seed]"
    return f"{found.value:{form}} {ends}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ABSENT
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def pairs_table(pairs: Sequence[Pair]) -> Table:
    """Return a row for each pair of settings."""
    header = [
        "X",
        "Y",
        "P(X > Y) [95 %]",
        "score of X minus score of Y, paired by seed [95 %]",
        "seeds of both",
    ]
    rows = []
    for pair in pairs:
        numbers = [
            interval_text(pair.probability, ".2f"),
            interval_text(pair.difference),
            str(pair.num_pairs),
        ]
        rows.append([pair.better, pair.worse, *numbers, pair.verdict])
    return Table([*header, "both intervals together"], rows, {2, 3, 4})


def effects_table(analysis: Analysis) -> Table:
    """Return the scores at each value of each key, without keys that differ between all of many settings."""
    number = len(analysis.scores)
    rows = [
        [effect.name, short_name(text), interval_text(iqm), str(size)]
        for effect in analysis.effects
        if len(effect.rows) < number or number <= MAX_LINES
        for text, iqm, size in effect.rows
    ]
    return Table(["key", "value", f"{analysis.kind} return [95 %]", "scores"], rows, {2, 3})


def settings_table(analysis: Analysis, keys: Mapping[str, Sequence[str]]) -> Table:
    """Return the values of `keys`, by the settings of the task; few keys are columns, many are rows."""
    order = [analysis.task.settings.index(score.setting) for score in analysis.scores]
    numbers = [str(i + 1) for i in range(len(order))]
    values = [[short_name(texts[i]) for i in order] for texts in keys.values()]
    if len(keys) <= MAX_COLUMNS:
        labels = [score.setting.label for score in analysis.scores]
        return Table(["", "setting", *keys], [*zip(numbers, labels, *values, strict=True)], {0})
    return Table(["key", *numbers], [[key, *texts] for key, texts in zip(keys, values, strict=True)])


def common_table(task: Task) -> Table:
    """Return the values that all settings of a task share."""
    config = task.settings[0].config
    return Table(["key", "value"], [pair for pair in config.items() if pair[0] not in task.varying])


def run_links(runs: Iterable[RunRecord], output: Path) -> list[str]:
    """Return the addresses of run folders, relative to the folder of the report."""
    return [quote(os.path.relpath(run.path, output)) for run in runs]


def runs_table(runs: Sequence[RunRecord], output: Path) -> Table:
    """Return the state, progress, CPU time and times of every run."""
    rows = []
    for run in runs:
        numbers = [seed.number for seed in run.seeds]
        cells = [run.path, seeds_text(numbers), run.state, progress_text(run), duration(run.cpu_seconds)]
        rows.append([*cells, *(time_text(run.status.get(key)) for key in ("created", "updated"))])
    header = ["run", "seeds", "state", "progress", "CPU time", "created", "last change"]
    return Table(header, rows, {4}, run_links(runs, output))


def time_text(value: object) -> str:
    """Return a time such as 2026-01-31T12:00:00+0000 with a space, where a line can break."""
    return str(value or ABSENT)[:25].replace("T", " ", 1)


def seeds_text(numbers: Sequence[int]) -> str:
    """Return seeds as ranges: "0-3, 7"."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges) or ABSENT


def progress_text(run: RunRecord) -> str:
    progress = run.status.get("progress")
    return f"{progress['tick']:,} of {progress['total']:,} {progress['unit']}s" if progress else ABSENT


def failures_table(runs: Sequence[RunRecord], output: Path) -> Table:
    """Return the failed runs, with the reasons."""
    failed = [run for run in runs if run.state == "failed"]
    rows = [[run.path, progress_text(run), run.error or ABSENT] for run in failed]
    return Table(["run", "progress", "reason"], rows, links=run_links(failed, output))


def counted_table(texts: Iterable[str], header: str) -> Table:
    """Return equal texts once, with the number of runs that have them."""
    return Table(
        [header, "runs"], [[text, str(number)] for text, number in Counter(texts).most_common()], {1}
    )


def scores_csv(analyses: Sequence[Analysis]) -> str:
    """Return a line for each setting of each task, with unrounded numbers."""
    file = io.StringIO()
    keys = list(dict.fromkeys(key for one in analyses for key in one.task.swept | one.task.varying))
    kinds = ("evaluation", "training")
    numbers = [f"{kind}_{name}" for kind in kinds for name in ("seeds", "iqm", "low", "high", "mean")]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["task", "folder", "setting", "runs", "seeds", *numbers, "cpu_seconds", *map(harmless, keys)]
    )
    for analysis in analyses:
        task = analysis.task
        for score in analysis.scores:
            setting = score.setting
            names = (task.name, one_line(setting.folder.name), setting.label)
            cells: list[object] = [*map(harmless, names)]
            cells += [len(setting.runs), len(setting.seeds)]
            for kind in kinds:
                values = list(score.returns[kind].values())
                iqm = score.iqm.get(kind, [""] * 3)
                cells += [len(values), *iqm, float(np.mean(values)) if values else ""]
            cost = "" if score.cpu_seconds is None else round(score.cpu_seconds, 2)
            values_of = (setting.value(k) if k in task.swept else setting.config.get(k) for k in keys)
            writer.writerow([*cells, cost, *(harmless(value or "") for value in values_of)])
    return file.getvalue()


def harmless(text: str) -> str:
    """Return a text that no spreadsheet evaluates as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and math.isnan(to_number(text)) else text
