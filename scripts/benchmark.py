"""Measure the cost of training beside other libraries and lower bounds; each part prints a table.

python scripts/benchmark.py [PART ...] [--overrides KEY=VALUE ...] [--repeats 5] [--peers sb3,sbx] [--quick]

Writes the results of each part to a file in scripts/benchmarks/results, and rewrites the table there.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import checkout  # noqa: F401 (first: it finds the package)
from benchmarks.environments import PEERS, SB3, SBX, TIANSHOU, TORCHRL
from benchmarks.processes import ONE_THREAD

os.environ.update(ONE_THREAD)  # before NumPy and torch, which set their threads at import

from benchmarks import atari, default, frames, loop, micro, pixels, recurrent, replay, scaling, whole
from benchmarks.subjects import built
from benchmarks.table import Line, markdown, write
from benchmarks.whole import Setting
from benchmarks.works import HEAVY, LIGHT, MINATAR, Work

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
    """Eight seeds of the heavy work in lock step, 20,000 steps, beside eight single runs of the same."""
    return whole.seeds(shortened(HEAVY, setting), (None, 0.15), setting)


def minatar(setting: Setting) -> list[Line]:
    """MinAtar's breakout, 200,000 steps, an update every four, beside Stable-Baselines3; its loop."""
    compiles, work = "agent.compile=true" in setting.overrides, shortened(MINATAR, setting)
    return [*whole.beside(work, {SB3: 0.35 if compiles else 0.5}, setting), *loop.loop(work, setting)]


def seeds_minatar(setting: Setting) -> list[Line]:
    """Eight seeds of the same in lock step, beside eight single runs of ours."""
    return whole.seeds(shortened(MINATAR, setting), (0.85, None), replace(setting, peers=[]))


def shortened(work: Work, setting: Setting) -> Work:
    return work.lasting(QUICK_STEPS) if setting.quick else work


PARTS: dict[str, Callable[[Setting], list[Line]]] = {
    "light": light,
    "long": long,
    "heavy": heavy,
    "seeds_light": seeds_light,
    "seeds_heavy": seeds_heavy,
    "minatar": minatar,
    "seeds_minatar": seeds_minatar,
    "nature": pixels.nature,
    "recurrent": recurrent.recurrent,
    "gpu": pixels.gpu,
    "start": whole.start,
    "default": default.default,
    "micro": micro.micro,
    "replay": replay.replay,
    "atari": atari.atari,
    "frames": frames.frames,
    "scaling": scaling.scaling,
}


def parse() -> tuple[list[str], Setting]:
    """Return the parts to run, and the setting; mistakes end the program."""
    keys = [peer.key for peer in PEERS]
    parts = "\n".join(f"  {name:<12} {(part.__doc__ or '').splitlines()[0]}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"parts:\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="what to measure; by default everything")
    add("--overrides", nargs="+", default=[], metavar="KEY=VALUE", help="overrides of all our runs")
    add("--repeats", type=int, default=5, help="measurements of each side, alternately")
    add("--peers", help=f"libraries to compare with, separated by commas: {', '.join(keys)}; or none")
    add(
        "--quick",
        action="store_true",
        help="try every part: small, without peers, writes no results",
    )
    add(
        "--cache", type=Path, default=ROOT / "outputs" / "benchmark", help="folder of the peers' environments"
    )
    add(
        "--results",
        type=Path,
        default=Path(__file__).parent / "benchmarks" / "results",
        help="folder of the results",
    )
    arguments = parser.parse_args()
    peers = keys if arguments.peers is None else [key for key in arguments.peers.split(",") if key != "none"]
    for kind, names, known in (("part", arguments.parts, list(PARTS)), ("--peers", peers, keys)):
        unknown = sorted(set(names) - set(known))
        if unknown:
            parser.error(f"{kind} {', '.join(unknown)}: should be among {', '.join(known)}")
    if arguments.repeats < 1:
        parser.error(f"--repeats {arguments.repeats}: should be at least 1")
    setting = Setting(
        repeats=1 if arguments.quick else arguments.repeats,
        quick=arguments.quick,
        overrides=arguments.overrides,
        cache=arguments.cache,
        results=arguments.results,
        peers=[] if arguments.quick else peers,
    )
    return arguments.parts or list(PARTS), setting


def main() -> None:
    names, setting = parse()
    try:
        with built([*LIGHT.overrides(), *setting.overrides]):
            pass  # report mistakes in the overrides before measuring anything
    except UserError as error:
        sys.exit(str(error))
    if setting.quick:
        print("--quick: too short to compare with the targets", flush=True)
    for name in names:
        part = PARTS[name]
        setting.versions.clear()
        print(f"{name}: {(part.__doc__ or '').splitlines()[0]}", flush=True)
        lines = part(setting)
        if lines:
            print(f"\n{markdown(lines)}\n", flush=True)
        if lines and not setting.quick:
            print(f"wrote {write(setting.results, name, setting.overrides, lines, setting.versions)}\n")


if __name__ == "__main__":
    main()
