"""Train every preset of `agent` on CartPole-v1 and Acrobot-v1, ten seeds each, and print how they end.

python scripts/presets.py [PRESET ...] [--jobs 2] [--folder outputs/presets]

The values are those of +experiment=presets_cartpole and presets_acrobot. A run that was interrupted goes on,
one that has finished is only read: the same command prints it again.
"""

import argparse
from pathlib import Path

from reproduce import (
    add_options,
    check_names,
    final_scores,
    markdown,
    read_status,
    train_all,
    with_interval,
)

from dqn.config.paths import CONF

ENVS = {"cartpole": "CartPole-v1", "acrobot": "Acrobot-v1"}


def presets() -> list[str]:
    """Return the options of `agent`, plain DQN first."""
    return sorted(
        (path.stem for path in (CONF / "agent").glob("*.yaml")), key=lambda name: (name != "dqn", name)
    )


def cells(run: Path) -> list[str]:
    """Return a finished run as cells of the table: its final evaluation, its seeds, its cost."""
    finals = final_scores(run)
    minutes = read_status(run)["cpu_seconds"] / 60
    return [with_interval(finals), f"{min(finals):.0f} to {max(finals):.0f}", f"{minutes:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "presets", nargs="*", default=[], metavar="PRESET", help=f"any of {', '.join(presets())}"
    )
    add_options(parser, "outputs/presets")
    arguments = parser.parse_args()
    check_names(parser, "preset", arguments.presets, presets())
    names = arguments.presets or presets()
    folder: Path = arguments.folder
    words = {
        folder / env / name: [f"+experiment=presets_{env}", f"agent={name}"] for name in names for env in ENVS
    }
    train_all(words, arguments.jobs)
    columns = [f"{env}: {what}" for env in ENVS.values() for what in ("evaluation", "seeds", "CPU min")]
    rows = [
        [f"`agent={name}`", *(cell for env in ENVS for cell in cells(folder / env / name))] for name in names
    ]
    print("\n".join(markdown(["preset", *columns], rows)))


if __name__ == "__main__":
    main()
