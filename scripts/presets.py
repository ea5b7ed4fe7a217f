"""Train every preset of `agent` on CartPole-v1 and Acrobot-v1, ten seeds each, and print how they end.

python scripts/presets.py [PRESET ...] [--jobs 2] [--folder outputs/presets]

The values are those of +experiment=presets_cartpole and presets_acrobot. A run that was interrupted goes on,
one that has finished is only read: the same command prints it again.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recipes import final_scores, parse, read_status, train, with_interval

from dqn.config.paths import CONF

ENVS = {"cartpole": "CartPole-v1", "acrobot": "Acrobot-v1"}


def presets() -> list[str]:
    """Return the options of `agent`, plain DQN first."""
    return sorted(
        (path.stem for path in (CONF / "agent").glob("*.yaml")), key=lambda name: (name != "dqn", name)
    )


def run_of(preset: str, env: str, folder: Path) -> Path:
    return train([f"+experiment=presets_{env}", f"agent={preset}"], folder / env / preset)


def cells(run: Path) -> list[str]:
    """Return a finished run as cells of the table: its final evaluation, its seeds, its cost."""
    finals = final_scores(run)
    minutes = read_status(run)["cpu_seconds"] / 60
    return [with_interval(finals), f"{min(finals):.0f} to {max(finals):.0f}", f"{minutes:.1f}"]


def main() -> None:
    arguments = parse("preset", presets(), __doc__)
    pairs = [(name, env) for name in arguments.names for env in ENVS]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = list(pool.map(lambda pair: run_of(pair[0], pair[1], arguments.folder), pairs))
    columns = [f"{env}: {what}" for env in ENVS.values() for what in ("evaluation", "seeds", "CPU min")]
    print(f"| preset | {' | '.join(columns)} |")
    print(f"|{'---|' * (len(columns) + 1)}")
    table = dict(zip(pairs, runs, strict=True))
    for name in arguments.names:
        print(f"| `agent={name}` | {' | '.join(cell for env in ENVS for cell in cells(table[name, env]))} |")


if __name__ == "__main__":
    main()
