"""Repeat the runs of a published table, ten seeds each, and print how ours stand to theirs.

python scripts/reproduce.py TABLE [EXPERIMENT ...] [--jobs 2] [--folder outputs/reproduce]

A run that was interrupted goes on, one that has finished is only read: the same command prints it again.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from published import Row, Table, compare, published_interval, read_published, width

from dqn.stats import Statistic, estimate, iqm, mean
from dqn.storage import metrics
from dqn.storage.folder import RunFolder

SEEDS = 10
HEADER = ("environment", "agent", "recipe", "steps", "ours", "width", "single seeds", "theirs", "ours is")
PROTOCOLS = {
    "training": f"mean return of the last {metrics.RECENT_EPISODES} training episodes",
    "evaluation": "mean return of 100 greedy episodes after training",
}


def train_all(runs: Mapping[Path, Sequence[str]], jobs: int) -> None:
    """Train run folders by their words, `jobs` at once; the first that fails ends the others' queue."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(train, words, run) for run, words in runs.items()]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def train(words: Sequence[str], run: Path) -> None:
    """Train ten seeds in a process of their own, or what is left of it."""
    print(f"{' '.join(words)}: {run}", file=sys.stderr)
    script = Path(__file__).with_name("train.py")
    words = [*words, "seed=0", f"num_seeds={SEEDS}", f"hydra.run.dir={run}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr}{done.stdout}")


def read_status(run: Path) -> dict[str, Any]:
    return RunFolder(run).stored_status()


def final_scores(run: Path) -> list[float]:
    """Return each seed's mean return in the final evaluation."""
    return list(metrics.evaluation_scores(read_status(run)).values())


def training_scores(run: Path) -> list[float]:
    """Return each seed's mean return of its last training episodes."""
    return list(metrics.training_scores(run, range(SEEDS)).values())


SCORES = {"training": training_scores, "evaluation": final_scores}


def with_interval(scores: Sequence[float], statistic: Statistic = iqm) -> str:
    value, low, high = estimate(scores, generator=np.random.default_rng(0), statistic=statistic)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def cells(row: Row, table: Table, run: Path, limits: tuple[float, float]) -> list[str]:
    """Return the cells of a row whose run of ours has finished; `limits` are those of its returns."""
    scores = SCORES[table.score](run)
    ours = estimate(scores, generator=np.random.default_rng(0), statistic=mean)
    verdict = "—"
    if row.value is not None:
        theirs = published_interval(row.value, spread=row.spread, runs=table.runs, scores=scores)
        verdict = compare(ours, theirs, limits)
    told = [with_interval(scores, mean), f"{width(ours):.1f}", f"{min(scores):.1f} to {max(scores):.1f}"]
    recipe = f"`+experiment={row.experiment}`"
    return [row.env, row.agent, recipe, f"{row.steps:,}", *told, published(row, table), verdict]


def published(row: Row, table: Table) -> str:
    if row.value is None:
        return "—"
    spread = "" if row.spread is None else f" ± {row.spread:.1f}"
    return f"{row.value:.1f}{spread}, {table.runs} {'run' if table.runs == 1 else 'runs'}"


def lines_of(
    rows: Sequence[Row], table: Table, folder: Path, ranges: Mapping[str, tuple[float, float]]
) -> Iterator[str]:
    """Yield a table as Markdown: the rows that have a recipe, then the reasons of the others."""
    yield f"{table.about} ({table.source}).\n"
    told = [cells(row, table, folder / row.experiment, ranges[row.env]) for row in rows if row.experiment]
    if told:
        yield f"A seed's score is its {PROTOCOLS[table.score]}; ours is their mean [95 % interval].\n"
        yield from markdown(HEADER, told)
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


def add_options(parser: argparse.ArgumentParser, folder: str) -> None:
    parser.add_argument("--jobs", type=at_least_one, default=2, help="runs at once")
    parser.add_argument("--folder", type=Path, default=Path(folder), help="where the runs lie")


def check_names(
    parser: argparse.ArgumentParser, kind: str, names: Sequence[str], known: Sequence[str]
) -> None:
    """End the command unless all names are known."""
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"no such {kind}: {', '.join(unknown)}; there are {', '.join(known)}")


def main() -> None:
    everything = read_published()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", choices=everything.tables, help="where the results are published")
    parser.add_argument(
        "experiments", nargs="*", default=[], metavar="EXPERIMENT", help="only the rows of these recipes"
    )
    add_options(parser, "outputs/reproduce")
    arguments = parser.parse_args()
    table = everything.tables[arguments.table]
    known = {row.experiment: None for row in table.rows if row.experiment}
    check_names(parser, "experiment in this table", arguments.experiments, list(known))
    chosen = arguments.experiments or [*known, None]
    rows = [row for row in table.rows if row.experiment in chosen]
    runs = {arguments.folder / name: [f"+experiment={name}"] for name in chosen if name}
    train_all(runs, arguments.jobs)
    print("\n".join(lines_of(rows, table, arguments.folder, everything.ranges)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
