"""Repeat the runs of a published table, and print how our results compare.

python scripts/reproduce.py TABLE [OVERRIDE ...] [--seeds 10] [--steps N] [--jobs 2]
python scripts/reproduce.py TABLE [OVERRIDE ...] --runs FOLDER ...

Run the same command again to resume interrupted runs and to print finished ones. With --runs it trains
nothing and prints the rows whose runs are in these folders.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import checkout  # noqa: F401 (first: it finds the package)
import numpy as np
from hydra.core.utils import JobStatus
from published import Published, Row, Table, compare, published_interval, read_published, width

from dqn.atari_scores import players_of
from dqn.errors import UserError, printable
from dqn.report.analysis import pooled
from dqn.report.read import find_runs
from dqn.stats import estimate, mean
from dqn.storage import metrics
from dqn.storage.folder import RunFolder, seeds_of
from dqn.storage.schema import Status
from dqn.sweep.job import table as table_of_jobs
from dqn.sweep.launcher import run_settings

SEEDS = 10
HEADER = (
    *("environment", "agent", "recipe", "steps", "ours", "width", "single seeds", "theirs", "ours is"),
    *("human-normalised", "CPU hours per seed"),
)
PROTOCOLS = {
    "training": f"mean return of the last {metrics.RECENT_EPISODES} training episodes",
    "evaluation": "mean return of 100 episodes of the final policy",
    "iteration": "mean return of the training episodes that ended in the last {:,} of these steps",
}
Runs = Mapping[str, Sequence[Path]]
"""Our runs of each row, by its overrides."""


def train_all(settings: Sequence[Sequence[str]], folder: Path, jobs: int, seeds: int) -> list[Path]:
    """Train the seeds of each setting as a job of a sweep; return their run folders.

    Raises:
        SystemExit: some jobs failed; raised after all have stopped.
    """
    common = ["seed=0", f"num_seeds={seeds}"]
    ended = run_settings(settings, folder, common=common, n_jobs=jobs)
    if any(job.status != JobStatus.COMPLETED for job in ended):
        raise SystemExit(table_of_jobs(ended))
    return [job.folder.path for job in ended if job.folder]


def name_of(row: Row) -> str:
    """Return the overrides of a row as one text."""
    return " ".join(row.overrides or ())


def settings_of(rows: Sequence[Row], table: Table) -> dict[str, list[str]]:
    """Return the overrides of the run of each row; one run has the iterations of all its rows."""
    settings = {}
    for row in rows:
        if row.overrides:
            steps = max(other.steps for other in rows if other.overrides == row.overrides)
            total = [f"runner.total_steps={steps}"] if table.score == "iteration" else []
            settings[name_of(row)] = [*row.overrides, *total]
    return settings


def runs_of(rows: Sequence[Row], folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the runs in `folders` that have the overrides of a row, by these."""
    found: dict[str, list[Path]] = {}
    for path in find_runs(folders):
        overrides = set(RunFolder(path).read_overrides())
        for name in dict.fromkeys(map(name_of, rows)):
            if name and overrides.issuperset(name.split()):
                found.setdefault(name, []).append(path)
    return found


def read_status(run: Path) -> Status:
    return RunFolder(run).stored_status()


def scores_of(run: Path, row: Row, table: Table) -> dict[int, float]:
    """Return the score of each seed of a run; empty if the run has not got that far."""
    if table.iteration is not None:
        return iteration_scores(run, row.steps, table.iteration)
    if read_status(run).get("state") != "finished":
        return {}
    if table.score == "evaluation":
        return metrics.evaluation_scores(read_status(run))
    return metrics.training_scores(run, seeds_of(RunFolder(run).read_config()))


def iteration_scores(run: Path, steps: int, length: int) -> dict[int, float]:
    """Return each seed's mean return of the training episodes in the `length` steps up to `steps`."""
    progress = read_status(run).get("progress")
    means = {}
    for seed in seeds_of(RunFolder(run).read_config()):
        lines = metrics.read_lines(run, seed)
        ended = [line for line in lines if "train/return" in line and steps - length < line["step"] <= steps]
        if ended and progress and progress["tick"] >= steps:
            means[seed] = fmean(line["train/return"] for line in ended)
    return means


def cells(row: Row, table: Table, runs: Sequence[Path], everything: Published) -> list[str]:
    """Return the cells of a row, for those of our runs that have enough steps."""
    scores = all_scores(row, table, runs)
    before = [row.env, row.agent, f"`{name_of(row)}`", f"{row.steps:,}"]
    if not scores:
        return [*before, *["—"] * 3, published(row, table), *["—"] * 3]
    ours = estimate(scores, generator=np.random.default_rng(0), statistic=mean)
    value = f"{ours.value:.1f} [{ours.low:.1f}, {ours.high:.1f}]"
    verdict = "—" if row.value is None else "undecided"
    if row.value is not None and table.runs and len(scores) > 1:
        theirs = published_interval(row.value, spread=row.spread, runs=table.runs, scores=scores)
        verdict = compare(ours, theirs, everything.range_of(row.env))
    spread = [f"{width(ours):.1f}", f"{min(scores):.1f} to {max(scores):.1f}"]
    players = players_of(row.env)
    human = "—" if players is None else f"{players.normalized(ours.value):.3f}"
    hours = sum(read_status(run).get("cpu_seconds") or 0.0 for run in runs) / 3600
    after = [human, f"{hours / len(scores):.2f}"]
    return [*before, value, *spread, published(row, table), verdict, *after]


def all_scores(row: Row, table: Table, runs: Sequence[Path]) -> list[float]:
    """Return the scores of the seeds of all runs; of several runs of a seed the last counts."""
    by_seed: dict[int, float] = {}
    for run in runs:
        by_seed |= scores_of(run, row, table)
    return list(by_seed.values())


def published(row: Row, table: Table) -> str:
    if row.value is None:
        return "—"
    spread = "" if row.spread is None else f" ± {row.spread:.1f}"
    runs = "unknown runs" if table.runs is None else f"{table.runs} {'run' if table.runs == 1 else 'runs'}"
    return f"{row.value:.1f}{spread}, {runs}"


def lines_of(rows: Sequence[Row], table: Table, runs: Runs, everything: Published) -> Iterator[str]:
    """Yield a table as Markdown, then the reasons why some rows are not repeated.

    `runs` has our runs of each repeated row by its overrides.
    """
    yield f"{table.about} ({table.source}).\n"
    repeated = [row for row in rows if name_of(row) in runs]
    if repeated:
        protocol = PROTOCOLS[table.score].format(table.iteration)
        yield f"A seed's score is its {protocol}; ours is their mean [95 % interval].\n"
        yield from markdown(HEADER, [cells(row, table, runs[name_of(row)], everything) for row in repeated])
    yield from aggregates(repeated, table, runs)
    for row in rows:
        if row.missing:
            yield f"- {row.env}, {row.agent} ({published(row, table)}) is not repeated: {row.missing}."


def aggregates(rows: Sequence[Row], table: Table, runs: Runs) -> Iterator[str]:
    """Yield the human-normalised interquartile mean over the runs of all games, by agent."""
    if not table.human_normalized_iqm:
        return
    groups: dict[str, list[list[float]]] = {}
    for row in rows:
        players = players_of(row.env)
        scores = all_scores(row, table, runs[name_of(row)])
        if players is not None and scores:
            groups.setdefault(row.agent, []).append([players.normalized(score) for score in scores])
    yield "\nHuman-normalised interquartile mean, all runs of all games pooled:\n"
    for agent, found in groups.items():
        if (ours := pooled(found)) is not None:
            about = f"{ours.value:.3f} [{ours.low:.3f}, {ours.high:.3f}] over {len(found)} games"
            yield f"- ours, {agent}: {about}"
    for agent, value in table.human_normalized_iqm.items():
        yield f"- published, {agent}: {value:.3f} over 26 games"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for line in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(line)} |"


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number, at least 1")
    return int(text)


def parse(everything: Published) -> tuple[Any, list[Row]]:
    """Return the arguments, and the rows that they choose."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", choices=everything.tables, help="the published table")
    only = "only the rows whose runs have these overrides, such as +experiment=cleanrl/dqn"
    parser.add_argument("overrides", nargs="*", default=[], metavar="OVERRIDE", help=only)
    parser.add_argument("--seeds", type=at_least_one, default=SEEDS, help="number of seeds of each run")
    parser.add_argument("--steps", type=at_least_one, help="only the rows with at most as many steps")
    parser.add_argument("--jobs", type=at_least_one, default=2, help="number of simultaneous runs")
    parser.add_argument("--folder", type=Path, default=Path("outputs/reproduce"), help="folder of the runs")
    parser.add_argument("--runs", type=Path, nargs="+", help="folders of runs to read; nothing is trained")
    arguments = parser.parse_args()
    table = everything.tables[arguments.table]
    known = dict.fromkeys(one for row in table.rows for one in row.overrides or ())
    if unknown := sorted(set(arguments.overrides) - known.keys()):
        parser.error(f"not in this table: {', '.join(unknown)}; it has {', '.join(known)}")
    rows = [row for row in table.rows if set(arguments.overrides) <= set(row.overrides or ())]
    return arguments, [row for row in rows if arguments.steps is None or row.steps <= arguments.steps]


def main() -> None:
    everything = read_published()
    arguments, rows = parse(everything)
    table = everything.tables[arguments.table]
    if arguments.runs:
        runs = runs_of(rows, arguments.runs)
    else:
        settings = settings_of(rows, table)
        common = (arguments.folder, arguments.jobs, arguments.seeds)
        trained = train_all(list(settings.values()), *common) if settings else []
        runs = {name: [run] for name, run in zip(settings, trained, strict=True)}
    print("\n".join(lines_of(rows, table, runs, everything)))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(printable(str(error)))
    except KeyboardInterrupt:
        sys.exit(130)
