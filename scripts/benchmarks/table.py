"""Results: paired ratios, targets, the file of a part, and the table of all parts."""

import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.processes import ONE_THREAD
from dqn.storage.durable_files import valid
from dqn.storage.provenance import environment, git_revision

TITLES = ("work", "ours", "theirs", "ratio (min to max)", "target", "met?")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One work, measured alternately on both sides: pair i is ours[i] and theirs[i]."""

    work: str
    beside: str
    """Name of the other side."""
    ours: Sequence[float]
    theirs: Sequence[float]
    unit: str
    most: float | None = None
    """Target: the largest ratio allowed."""
    most_ours: float | None = None
    """Target where it is a cost and not a ratio: the largest cost of ours, in `unit`."""

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
            median_text(self.ours, self.unit),
            median_text(self.theirs, self.unit),
            f"{middle:.2f} ({low:.2f} to {high:.2f})",
            target,
            met,
        ]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the minimum, the median and the maximum."""
    return min(values), statistics.median(values), max(values)


def median_text(values: Sequence[float], unit: str) -> str:
    """Return the median and the range as text."""
    low, middle, high = (f"{value:.3g}" if value < 1000 else f"{value:,.0f}" for value in spread(values))
    return f"{middle} {unit} ({low} to {high})"


def markdown(lines: Sequence[Line]) -> str:
    """Return a table of lines."""
    rows = [TITLES, ("---",) * len(TITLES), *(line.cells() for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def circumstances() -> dict[str, Any]:
    """Return what the figures depend on: date, revision, machine, versions, load and threads."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "git": git_revision(),
        **environment(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "threads": ONE_THREAD,
    }


def write(
    folder: Path,
    part: str,
    overrides: Sequence[str],
    lines: Sequence[Line],
    versions: dict[str, dict[str, str]],
) -> Path:
    """Write the results of a part, and rewrite the table of all parts in `folder`.

    Args:
        folder: the folder of the results; created if missing.
        part: the name of the part.
        overrides: extra overrides of our runs.
        lines: the results.
        versions: the versions of each peer's packages.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{','.join([part, *overrides])}.json".replace("/", "_")
    record = {
        "part": part,
        "overrides": list(overrides),
        "circumstances": circumstances(),
        "peers": versions,
        "lines": [asdict(line) for line in lines],
    }
    file.write_text(json.dumps(valid(record), indent=1, ensure_ascii=False) + "\n")
    (folder / "table.md").write_text(summary(folder))
    return file


def summary(folder: Path) -> str:
    """Return a table of all lines with targets, and the table of each part with results."""
    judged, sections = [], []
    for file in sorted(folder.glob("*.json")):
        record = json.loads(file.read_text())
        overrides = " ".join(record["overrides"])
        lines = [Line(**line) for line in record["lines"]]
        judged += [
            replace(line, work=f"{line.work} ({overrides})" if overrides else line.work)
            for line in lines
            if line.met is not None
        ]
        then = record["circumstances"]
        about = f"{then['date']}, {then['git']}, {then['machine']}, load {then['load']} at the end"
        command = (
            f"python scripts/benchmark.py {record['part']}{f' --overrides {overrides}' if overrides else ''}"
        )
        sections.append(f"`{command}`: {about}\n\n{markdown(lines)}\n")
    head = "Written by `scripts/benchmark.py`: medians, and from the least to the greatest. The targets:\n"
    return "\n".join([head, f"{markdown(judged)}\n", *sections])
