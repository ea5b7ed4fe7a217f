"""Measured lines: paired ratios, targets, the table and the file of a part."""

import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.processes import ONE_THREAD
from dqn.storage.provenance import environment, git_revision

TITLES = ("work", "ours", "theirs", "ratio (min to max)", "target", "met?")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One work, measured in turn on both sides: pair i is ours[i] and theirs[i]."""

    work: str
    beside: str
    """What the other side is."""
    ours: Sequence[float]
    theirs: Sequence[float]
    unit: str
    most: float | None = None
    """The target: the ratio is at most this."""
    most_ours: float | None = None
    """The target where it is a cost, in `unit`."""

    @property
    def ratios(self) -> list[float]:
        """Return ours / theirs, pair by pair."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def met(self) -> bool | None:
        """Return whether the median is within the target; None where there is none."""
        if self.most_ours is not None:
            return statistics.median(self.ours) <= self.most_ours
        return None if self.most is None else statistics.median(self.ratios) <= self.most

    def cells(self) -> list[str]:
        """Return the line as cells of the table, by TITLES."""
        low, middle, high = spread(self.ratios)
        target = "" if self.most is None else f"≤ {self.most:g}"
        if self.most_ours is not None:
            target = f"≤ {self.most_ours:g} {self.unit}"
        met = {True: "yes", False: "no", None: ""}[self.met]
        return [
            f"{self.work}, beside {self.beside}",
            told(self.ours, self.unit),
            told(self.theirs, self.unit),
            f"{middle:.2f} ({low:.2f} to {high:.2f})",
            target,
            met,
        ]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the least, the median and the greatest."""
    return min(values), statistics.median(values), max(values)


def told(values: Sequence[float], unit: str) -> str:
    """Return the median and the range, as text."""
    low, middle, high = (f"{value:.3g}" if value < 1000 else f"{value:,.0f}" for value in spread(values))
    return f"{middle} {unit} ({low} to {high})"


def markdown(lines: Sequence[Line]) -> str:
    """Return a table of lines."""
    rows = [TITLES, ("---",) * len(TITLES), *(line.cells() for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def circumstances() -> dict[str, Any]:
    """Return what the figures depend on, beside the peers' versions."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "git": git_revision(),
        **environment(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "threads": ONE_THREAD,
    }


def write(
    folder: Path, part: str, words: Sequence[str], lines: Sequence[Line], versions: dict[str, dict[str, str]]
) -> Path:
    """Write the results of a part, and the table of all parts in `folder` anew.

    Args:
        folder: of the results; it is made.
        part: the subcommand.
        words: what our runs were told beyond the works.
        lines: what was measured.
        versions: of each peer's packages.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{','.join([part, *words])}.json".replace("/", "_")
    record = {
        "part": part,
        "words": list(words),
        "circumstances": circumstances(),
        "peers": versions,
        "lines": [asdict(line) for line in lines],
    }
    file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    (folder / "table.md").write_text(summary(folder))
    return file


def summary(folder: Path) -> str:
    """Return all lines that have targets in one table, and the table of each part that has results."""
    judged, sections = [], []
    for file in sorted(folder.glob("*.json")):
        record = json.loads(file.read_text())
        words = " ".join(record["words"])
        lines = [Line(**line) for line in record["lines"]]
        judged += [
            replace(line, work=f"{line.work} ({words})" if words else line.work)
            for line in lines
            if line.met is not None
        ]
        then = record["circumstances"]
        about = f"{then['date']}, {then['git']}, {then['machine']}, load {then['load']} at the end"
        command = f"python scripts/benchmark.py {record['part']}{f' --words {words}' if words else ''}"
        sections.append(f"`{command}`: {about}\n\n{markdown(lines)}\n")
    head = "Written by `scripts/benchmark.py`: medians, and from the least to the greatest. The targets:\n"
    return "\n".join([head, f"{markdown(judged)}\n", *sections])
