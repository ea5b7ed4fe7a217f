"""Repeat the runs of a published table with ten seeds each, and print how our results compare.

python scripts/reproduce.py TABLE [OVERRIDE ...] [--jobs 2] [--folder outputs/reproduce]

Run the same command again to resume interrupted runs and to print finished ones.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import checkout  # noqa: F401 (first: it finds the package)
import numpy as np
from hydra.core.utils import JobStatus
from published import Row, Table, compare, published_interval, read_published, width

from dqn.stats import estimate, mean
from dqn.storage import metrics
from dqn.storage.folder import RunFolder
from dqn.storage.schema import Status
from dqn.sweep.job import table as table_of_jobs
from dqn.sweep.launcher import run_settings

SEEDS = 10
HEADER = ("environment", "agent", "recipe", "steps", "ours", "width", "single seeds", "theirs", "ours is")
PROTOCOLS = {
    "training": f"mean return of the last {metrics.RECENT_EPISODES} training episodes",
    "evaluation": "mean return of 100 greedy episodes after training",
}


def train_all(settings: Sequence[Sequence[str]], folder: Path, jobs: int) -> list[Path]:
    """Train ten seeds of each setting as a job of a sweep; return their run folders.

    Raises:
        SystemExit: some jobs failed; raised after all have stopped.
    """
    common = ["seed=0", f"num_seeds={SEEDS}"]
    ended = run_settings(settings, folder, common=common, n_jobs=jobs)
    if any(job.status != JobStatus.COMPLETED for job in ended):
        raise SystemExit(table_of_jobs(ended))
    return [job.folder.path for job in ended if job.folder]


def read_status(run: Path) -> Status:
    return RunFolder(run).stored_status()


def final_scores(run: Path) -> list[float]:
    """Return each seed's mean return in the final evaluation."""
    return list(metrics.evaluation_scores(read_status(run)).values())


def training_scores(run: Path) -> list[float]:
    """Return each seed's mean return of its last training episodes."""
    return list(metrics.training_scores(run, range(SEEDS)).values())


SCORES = {"training": training_scores, "evaluation": final_scores}


def cells(row: Row, table: Table, run: Path, limits: tuple[float, float]) -> list[str]:
    """Return the cells of a row; `limits` are the lowest and highest return of its environment."""
    scores = SCORES[table.score](run)
    ours = estimate(scores, generator=np.random.default_rng(0), statistic=mean)
    verdict = "—"
    if row.value is not None:
        theirs = published_interval(row.value, spread=row.spread, runs=table.runs, scores=scores)
        verdict = compare(ours, theirs, limits)
    value = f"{ours.value:.1f} [{ours.low:.1f}, {ours.high:.1f}]"
    spread = [f"{width(ours):.1f}", f"{min(scores):.1f} to {max(scores):.1f}"]
    recipe = f"`{' '.join(row.overrides or ())}`"
    return [row.env, row.agent, recipe, f"{row.steps:,}", value, *spread, published(row, table), verdict]


def published(row: Row, table: Table) -> str:
    if row.value is None:
        return "—"
    spread = "" if row.spread is None else f" ± {row.spread:.1f}"
    return f"{row.value:.1f}{spread}, {table.runs} {'run' if table.runs == 1 else 'runs'}"


def lines_of(
    rows: Sequence[Row], table: Table, runs: Mapping[str, Path], ranges: Mapping[str, tuple[float, float]]
) -> Iterator[str]:
    """Yield a table as Markdown, then the reasons why some rows are not repeated.

    `runs` has our run of each repeated row by its overrides, `ranges` the lowest and highest returns.
    """
    yield f"{table.about} ({table.source}).\n"
    repeated = [
        cells(row, table, runs[" ".join(row.overrides)], ranges[row.env]) for row in rows if row.overrides
    ]
    if repeated:
        yield f"A seed's score is its {PROTOCOLS[table.score]}; ours is their mean [95 % interval].\n"
        yield from markdown(HEADER, repeated)
    for row in rows:
        if row.missing:
            yield f"- {row.env}, {row.agent} ({published(row, table)}) is not repeated: {row.missing}."


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for line in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(line)} |"


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number, at least 1")
    return int(text)


def main() -> None:
    everything = read_published()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", choices=everything.tables, help="the published table")
    only = "only the rows whose runs have these overrides, such as +experiment=cleanrl/dqn"
    parser.add_argument("overrides", nargs="*", default=[], metavar="OVERRIDE", help=only)
    parser.add_argument("--jobs", type=at_least_one, default=2, help="number of simultaneous runs")
    parser.add_argument("--folder", type=Path, default=Path("outputs/reproduce"), help="folder of the runs")
    arguments = parser.parse_args()
    table = everything.tables[arguments.table]
    known = dict.fromkeys(one for row in table.rows for one in row.overrides or ())
    if unknown := sorted(set(arguments.overrides) - known.keys()):
        parser.error(f"not in this table: {', '.join(unknown)}; it has {', '.join(known)}")
    chosen = set(arguments.overrides)
    rows = [row for row in table.rows if chosen <= set(row.overrides or ())]
    settings = {" ".join(row.overrides): row.overrides for row in rows if row.overrides}
    runs = train_all(list(settings.values()), arguments.folder, arguments.jobs) if settings else []
    paths = dict(zip(settings, runs, strict=True))
    print("\n".join(lines_of(rows, table, paths, everything.ranges)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
