"""What training costs, beside other libraries and beside what it could cost; each part prints a table.

python scripts/benchmark.py [PART ...] [--words KEY=VALUE ...] [--repeats 5] [--peers sb3,tianshou] [--quick]

The results go to scripts/benchmarks/results, a file for each part, and the table there is written anew.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.environments import PEERS, SB3, SBX, TIANSHOU, TORCHRL
from benchmarks.processes import ONE_THREAD

os.environ.update(ONE_THREAD)  # before NumPy and torch, which count their threads when they are imported

from benchmarks import default, micro, replay, scaling, whole
from benchmarks.subjects import built
from benchmarks.table import Line, markdown, write
from benchmarks.whole import Setting
from benchmarks.works import HEAVY, LIGHT, Work

from dqn.errors import UserError

ROOT = Path(__file__).parents[1]
QUICK_STEPS = 2_000


def light(setting: Setting) -> list[Line]:
    """The light work, 50,000 steps, beside the four libraries."""
    targets = {SB3: 0.6, TIANSHOU: 0.25, TORCHRL: 0.25, SBX: None}
    return whole.beside(shortened(LIGHT, setting), targets, setting)


def long(setting: Setting) -> list[Line]:
    """The light work, 200,000 steps, beside Stable-Baselines3."""
    return whole.beside(shortened(replace(LIGHT, steps=200_000), setting), {SB3: 0.45}, setting)


def heavy(setting: Setting) -> list[Line]:
    """The heavy work, 100,000 steps, beside Stable-Baselines3."""
    return whole.beside(shortened(replace(HEAVY, steps=100_000), setting), {SB3: 0.4}, setting)


def seeds_light(setting: Setting) -> list[Line]:
    """Eight seeds of the light work in lock step, beside eight single runs: ours, Stable-Baselines3's."""
    return whole.seeds(shortened(LIGHT, setting), (0.3, 0.15), setting)


def seeds_heavy(setting: Setting) -> list[Line]:
    """Eight seeds of the heavy work in lock step, 20,000 steps, beside the same."""
    return whole.seeds(shortened(HEAVY, setting), (None, 0.15), setting)


def shortened(work: Work, setting: Setting) -> Work:
    return work.lasting(QUICK_STEPS) if setting.quick else work


PARTS: dict[str, Callable[[Setting], list[Line]]] = {
    "light": light,
    "long": long,
    "heavy": heavy,
    "seeds_light": seeds_light,
    "seeds_heavy": seeds_heavy,
    "start": whole.start,
    "default": default.default,
    "micro": micro.micro,
    "replay": replay.replay,
    "scaling": scaling.scaling,
}


def parse() -> tuple[list[str], Setting]:
    """Return the parts to run, and how; mistakes end the program."""
    keys = [peer.key for peer in PEERS]
    parts = "\n".join(f"  {name:<12} {(part.__doc__ or '').splitlines()[0]}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"parts:\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="what to measure; all without any")
    add("--words", nargs="+", default=[], metavar="KEY=VALUE", help="told to all our runs")
    add("--repeats", type=int, default=5, help="measurements of each side, in turn")
    add("--peers", help=f"beside these alone, separated by commas: {', '.join(keys)}; none: beside none")
    add(
        "--quick",
        action="store_true",
        help="small and without peers: does everything work? writes no results",
    )
    add("--cache", type=Path, default=ROOT / "outputs" / "benchmark", help="of the peers' environments")
    add("--results", type=Path, default=Path(__file__).parent / "benchmarks" / "results", help="to write to")
    told = parser.parse_args()
    peers = keys if told.peers is None else [key for key in told.peers.split(",") if key != "none"]
    for kind, names, known in (("part", told.parts, list(PARTS)), ("--peers", peers, keys)):
        unknown = sorted(set(names) - set(known))
        if unknown:
            parser.error(f"{kind} {', '.join(unknown)}: should be among {', '.join(known)}")
    if told.repeats < 1:
        parser.error(f"--repeats {told.repeats}: should be at least 1")
    setting = Setting(
        repeats=1 if told.quick else told.repeats,
        quick=told.quick,
        words=told.words,
        cache=told.cache,
        results=told.results,
        peers=[] if told.quick else peers,
    )
    return told.parts or list(PARTS), setting


def main() -> None:
    names, setting = parse()
    try:
        with built([*LIGHT.words(), *setting.words]):
            pass  # the words are tried before anything takes time
    except UserError as error:
        sys.exit(str(error))
    if setting.quick:
        print("--quick: too short to judge the targets by", flush=True)
    for name in names:
        part = PARTS[name]
        setting.versions.clear()
        print(f"{name}: {(part.__doc__ or '').splitlines()[0]}", flush=True)
        lines = part(setting)
        if lines:
            print(f"\n{markdown(lines)}\n", flush=True)
        if lines and not setting.quick:
            print(f"written: {write(setting.results, name, setting.words, lines, setting.versions)}\n")


if __name__ == "__main__":
    main()
