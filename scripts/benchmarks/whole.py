"""Whole training processes, ours and the peers' alternately."""

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.environments import PROGRAMS, SB3, Peer, python_of, versions_of
from benchmarks.processes import Cost, run
from benchmarks.table import Line
from benchmarks.works import START, Work

STACK, QUICK_STACK = 8, 2
"""Seeds in lock step."""


@dataclass(kw_only=True)
class Setting:
    """How to measure."""

    repeats: int
    quick: bool
    overrides: Sequence[str]
    """Extra overrides of our runs."""
    cache: Path
    """Folder of the peers' environments."""
    results: Path
    """Folder of the results."""
    peers: Sequence[str]
    """Keys of the peers to compare with."""
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    """Versions of the packages of each peer in use, by its name."""

    def python(self, peer: Peer) -> Path | None:
        """Return the interpreter of a peer; None if it is not selected or cannot be installed."""
        if peer.key not in self.peers:
            return None
        python = python_of(peer, self.cache)
        if python is not None and peer.name not in self.versions:
            self.versions[peer.name] = versions_of(python)
        return python


class Run(NamedTuple):
    """One training process, or the sum of several."""

    cost: Cost
    loop: float  # CPU seconds of the training loop alone


def train(command: Sequence[str], work: Work, num_seeds: int, name: str) -> Run:
    """Run a training program.

    Raises:
        SystemExit: it failed, or its numbers of steps or updates are not those of the work.
    """
    with tempfile.TemporaryDirectory() as folder:
        cost, text = run(command, Path(folder))
    done = json.loads(text.splitlines()[-1])
    steps, updates = num_seeds * work.steps, num_seeds * work.updates
    if (done["steps"], done["updates"]) != (steps, updates):
        sys.exit(
            f"{name}: {work} should be {steps} environment steps and {updates} updates, but it was"
            f" {done['steps']} and {done['updates']}"
        )
    learned = "none" if done["return"] is None else f"{done['return']:.1f}"
    print(
        f"  {work}: {name}: {cost.cpu:.2f} s CPU, {cost.wall:.2f} s wall, the loop {done['loop']:.2f} s CPU;"
        f" {updates:,} updates; latest training returns {learned}",
        flush=True,
    )
    return Run(cost, done["loop"])


def ours(work: Work, overrides: Sequence[str], seed: int, num_seeds: int = 1) -> Run:
    """Train with this project."""
    command = [sys.executable, str(PROGRAMS / "train_ours.py"), *work.overrides()]
    command += [f"seed={seed}", f"num_seeds={num_seeds}", "hydra.run.dir=run", *overrides]
    return train(command, work, num_seeds, f"ours, {num_seeds} seed{'s' * (num_seeds > 1)}")


def theirs(peer: Peer, python: Path, work: Work, seed: int) -> Run:
    """Train with a peer."""
    command = [str(python), str(PROGRAMS / peer.train), json.dumps(work.fields()), str(seed)]
    return train(command, work, 1, peer.name)


def beside(work: Work, targets: dict[Peer, float | None], setting: Setting) -> list[Line]:
    """Measure one seed of a work beside peers; `targets` has the target ratio for each."""
    pythons = {peer: python for peer in targets if (python := setting.python(peer)) is not None}
    mine: list[Run] = []
    others: dict[Peer, list[Run]] = {peer: [] for peer in pythons}
    for seed in range(setting.repeats):
        mine.append(ours(work, setting.overrides, seed))
        for peer, python in pythons.items():
            others[peer].append(theirs(peer, python, work, seed))
    return [
        line
        for peer, runs in others.items()
        for line in lines_of(f"{work}, one seed", peer.name, mine, runs, targets[peer])
    ]


def lines_of(
    work: str, name: str, mine: Sequence[Run], others: Sequence[Run], target: float | None
) -> list[Line]:
    """Return lines of the CPU time with the target, of the wall time, and of the CPU time of the loops."""
    kinds = [
        (work, "s CPU", [run.cost.cpu for run in mine], [run.cost.cpu for run in others], target),
        (work, "s wall", [run.cost.wall for run in mine], [run.cost.wall for run in others], None),
        (f"{work}, loop", "s CPU", [run.loop for run in mine], [run.loop for run in others], None),
    ]
    return [
        Line(work=kind, beside=name, ours=a, theirs=b, unit=unit, most=most)
        for kind, unit, a, b, most in kinds
    ]


def seeds(work: Work, targets: tuple[float | None, float | None], setting: Setting) -> list[Line]:
    """Measure seeds in lock step beside equally many single runs of ours and of Stable-Baselines3.

    Args:
        work: the work of each seed.
        targets: the target ratios to our single runs and to Stable-Baselines3.
        setting: how to measure.
    """
    python = setting.python(SB3)
    stack = QUICK_STACK if setting.quick else STACK
    stacks, singles, others = [], [], []
    for repeat in range(setting.repeats):
        numbers = range(stack * repeat, stack * (repeat + 1))
        stacks.append(ours(work, setting.overrides, numbers[0], num_seeds=stack))
        singles.append(total([ours(work, setting.overrides, seed) for seed in numbers]))
        if python is not None:
            others.append(total([theirs(SB3, python, work, seed) for seed in numbers]))
    name = f"{work}, {stack} seeds in lock step"
    lines = lines_of(name, f"{stack} single runs of ours", stacks, singles, targets[0])
    if others:
        lines += lines_of(name, f"{stack} runs of {SB3.name}", stacks, others, targets[1])
    return lines


def total(runs: Sequence[Run]) -> Run:
    """Return the sum of several runs."""
    costs = [run.cost for run in runs]
    cost = Cost(sum(cost.cpu for cost in costs), sum(cost.wall for cost in costs))
    return Run(cost, sum(run.loop for run in runs))


def start(setting: Setting) -> list[Line]:
    """A process that stops after its first update, beside one that only imports torch."""
    python = setting.python(SB3)
    mine, limits, others = [], [], []
    for seed in range(setting.repeats):
        mine.append(ours(START, setting.overrides, seed).cost.cpu)
        limits.append(run([sys.executable, "-c", "import torch"], Path.cwd())[0].cpu)
        if python is not None:
            others.append(theirs(SB3, python, START, seed).cost.cpu)
    beside = [("importing torch alone", limits), *([(SB3.name, others)] if others else [])]
    return [
        Line(work="start to first update", beside=name, ours=mine, theirs=costs, unit="s CPU", most_ours=most)
        for (name, costs), most in zip(beside, (5.0, None), strict=False)
    ]
