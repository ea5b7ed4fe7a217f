"""Train the agents of Revisiting Rainbow by its settings, ten seeds each: a table, and a report with curves.

python scripts/revisiting.py [ENV ...] [--agents dqn munchausen ...] [--jobs 2] [--folder outputs/revisiting]
    [--words agent.compile=true ...]

The recipes are +experiment=revisiting_ENV and revisiting_ENV_AGENT. A run that was interrupted goes on, one
that has finished is only read: the same command prints it again.
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
    training_scores,
    with_interval,
)

from dqn.report.write import write_report

ENVS = ("cartpole", "acrobot", "mountaincar", "lunarlander")
AGENTS = ("dqn", "rainbow", "qrdqn", "iqn", "munchausen")


def recipe(env: str, agent: str) -> str:
    return f"revisiting_{env}" if agent == "dqn" else f"revisiting_{env}_{agent}"


def row(env: str, agent: str, run: Path) -> list[str]:
    """Return a finished run as cells of the table."""
    status = read_status(run)
    cells = [f"`+experiment={recipe(env, agent)}`", f"{status['progress']['steps'][0]:,}"]
    cells += [with_interval(training_scores(run)), with_interval(final_scores(run))]
    return [*cells, f"{status['cpu_seconds'] / 60:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("envs", nargs="*", default=[], metavar="ENV", help=f"any of {', '.join(ENVS)}")
    parser.add_argument("--agents", nargs="+", default=AGENTS, metavar="AGENT", help=", ".join(AGENTS))
    parser.add_argument("--words", nargs="+", default=(), metavar="WORD", help="words for each of the runs")
    add_options(parser, "outputs/revisiting")
    arguments = parser.parse_args()
    check_names(parser, "environment", arguments.envs, list(ENVS))
    check_names(parser, "agent", arguments.agents, list(AGENTS))
    folder: Path = arguments.folder
    cells = [(env, agent) for env in arguments.envs or ENVS for agent in arguments.agents]
    runs = {
        folder / env / agent: [f"+experiment={recipe(env, agent)}", *arguments.words] for env, agent in cells
    }
    train_all(runs, arguments.jobs)
    rows = [row(env, agent, run) for (env, agent), run in zip(cells, runs, strict=True)]
    print("\n".join(markdown(["recipe", "steps", "training", "evaluation", "CPU min"], rows)))
    page, _ = write_report(list(runs), folder / "report")
    print(f"\ncurves: {page}")


if __name__ == "__main__":
    main()
