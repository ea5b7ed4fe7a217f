"""Checks of everything together, on tiny runs: a resumed run, a seed alone."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dqn.conformance.assertions import array, differences, require
from dqn.conformance.candidate import MISSING, Candidate
from dqn.runner import Runner

CLOCK = {
    "_target_": "dqn.runner.StepsClock",
    **{"total_steps": 192, "iteration_length": 64, "batch_size": 16, "learning_starts": 32},
    **{"train_period": 4, "updates_per_train": 1, "target_period": 20, "target_tau": 0.5},
    **{"eval_period": 0, "eval_episodes": 0, "eval_epsilon": 0.0, "histogram_period": 0, "video_period": 0},
}
NUM_ENVS = 2
ROUNDING = 1e-5
"""By which a seed may differ where products are done in another order, relative to the largest number."""
STOP = 50
"""Calls of `act` before a run is stopped: in its second iteration, after updates."""
SOURCE = "what changes while training should be in state_dict, and random numbers come from dqn.seeding"


def tiny(candidate: Candidate, seed: int, num_seeds: int) -> dict[str, Any]:
    """Return the values of a tiny run on the configuration's own environment."""
    values = {
        "runner": CLOCK,
        "env.num_envs": NUM_ENVS,
        "env.vectorization": "sync",
        "seed": seed,
        "num_seeds": num_seeds,
        "device": "cpu",
        "num_threads": 1,
    }
    return values | small_memory(candidate, 120)


def small_memory(candidate: Candidate, capacity: int) -> dict[str, Any]:
    if candidate.node("memory.capacity") is MISSING:
        return {}
    n_step = candidate.node("memory.reader.n_step")
    longest = n_step if isinstance(n_step, int) else 1
    return {"memory.capacity": capacity + 4 * longest * NUM_ENVS}


def end_of(runner: Runner) -> dict[str, Any]:
    """Run to the end and return what is there then."""
    runner.run()
    return {
        "policy": runner.agent.policy.state_dict(),
        "agent": runner.agent.state_dict(),
        "memory": runner.memory.state_dict(),
    }


def compare(one: Mapping[str, Any], other: Mapping[str, Any], text: str) -> None:
    found = differences(one, other)
    path, gap = next(iter(found.items()), ("", 0.0))
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    require(not found, f"{text}: {path}{more} differ (by up to {gap:.3g}); {SOURCE}")


def in_folder(check: Callable[[Candidate, Path], str | None]) -> Callable[[Candidate], str | None]:
    """Give a check a folder that is removed after it."""

    def checked(candidate: Candidate) -> str | None:
        with tempfile.TemporaryDirectory() as folder:
            return check(candidate, Path(folder))

    return checked


@in_folder
def repeated(candidate: Candidate, folder: Path) -> str | None:
    """Check that a run is what its seed makes it, and goes on from a checkpoint as if never stopped."""
    values = tiny(candidate, 0, 2)
    straight, again = (end_of(candidate.runner(folder / name, values)) for name in ("one", "other"))
    compare(straight, again, "two runs of the same seed are not equal")
    stopped = candidate.runner(folder / "stopped", values)
    act, calls = stopped.agent.actor.act, iter(range(STOP))

    def act_and_stop(*args: Any) -> Any:
        if next(calls, None) is None:
            stopped.stop.set()
        return act(*args)

    setattr(stopped.agent.actor, "act", act_and_stop)  # noqa: B010
    with suppress(KeyboardInterrupt):
        stopped.run()
    require(stopped.iteration == 1, "a run that was told to stop went on")
    resumed = end_of(candidate.runner(folder / "stopped", values))
    compare(straight, resumed, "a run that was stopped and resumed is not the one that was never stopped")
    return "bit for bit"


@in_folder
def alone(candidate: Candidate, folder: Path) -> str | None:
    """Check that a seed alone is that seed beside another one; return how exactly."""
    stack = end_of(candidate.runner(folder / "stack", tiny(candidate, 0, 2)))
    single = end_of(candidate.runner(folder / "alone", tiny(candidate, 1, 1)))
    ours = {"policy": single["policy"], "target": single["agent"]["target"]}
    theirs = {"policy": stack["policy"], "target": stack["agent"]["target"]}
    theirs = {part: {name: leaf[1:] for name, leaf in leaves.items()} for part, leaves in theirs.items()}
    found = differences(ours, theirs)
    if not found:
        return "bit for bit"
    gap, path = max((gap, path) for path, gap in found.items())
    largest = max(abs(array(leaf)).max() for leaf in ours["policy"].values())
    text = f"seed 1 alone ends with other parameters than beside seed 0: {path} differs by {gap:.3g}"
    require(gap <= ROUNDING * largest, f"{text}; no seed should depend on which others are trained")
    return f"within {gap:.2g}; not bit for bit"
