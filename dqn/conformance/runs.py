"""Checks of all parts together in tiny runs: a resumed run, and a seed trained alone."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dqn.conformance.assertions import array, differences, require
from dqn.conformance.candidate import Candidate

CLOCK = {
    "_target_": "dqn.runner.StepsClock",
    **{"total_steps": 192, "iteration_length": 64, "batch_size": 16, "learning_starts": 32},
    **{"train_period": 4, "updates_per_train": 1, "target_period": 20, "target_tau": 0.5},
    **{"eval_period": 0, "eval_episodes": 0, "eval_epsilon": 0.0, "eval_num_envs": 1, "eval_max_steps": None},
    **{"histogram_period": 0, "video_period": 0},
}
NUM_ENVS = 2
WINDOW = 8
"""Steps of the windows of tiny runs."""
ROUNDING = 1e-5
"""Tolerance for products computed in another order, relative to the largest number."""
STOP = 50
"""Calls of `act` before a run is stopped: in its second iteration, after updates."""


def tiny(candidate: Candidate, seed: int, num_seeds: int) -> dict[str, Any]:
    """Return the values of a tiny run in the configuration's environment."""
    env = {"env.num_envs": NUM_ENVS, "env.vectorization": "sync"}
    run = {"seed": seed, "num_seeds": num_seeds, "device": "cpu", "num_threads": 1, "runner": CLOCK}
    return env | run | small_memory(candidate, 120, WINDOW)


def small_memory(candidate: Candidate, capacity: int, window: int) -> dict[str, Any]:
    """Return a small capacity of the memory, if it has one, that is large enough for its samples.

    Those of a recurrent network become windows of at most `window` steps.
    """
    values: dict[str, Any] = {}
    if candidate.target("network.core"):
        most = {"length": window, "period": window // 2, "burn_in": window // 2}
        given = {name: candidate.node(f"memory.reader.{name}") for name in most}
        values = {f"memory.reader.{name}": min(given[name], most[name]) for name in most if given[name]}
    if candidate.node("memory.capacity") is None:
        return values
    n_step = candidate.node("memory.reader.n_step")
    longest = sum(values.values()) + (n_step if isinstance(n_step, int) else 1)
    return values | {"memory.capacity": capacity + 4 * longest * NUM_ENVS}


def final_state(
    candidate: Candidate, values: Mapping[str, Any], folder: Path | None = None
) -> dict[str, Any]:
    """Finish a run, a new one or that of a folder, and return the final state of its parts."""
    with TemporaryDirectory() as new:
        runner = candidate.runner(folder or Path(new), values)
        runner.run()
    return {
        "policy": runner.agent.policy.state_dict(),
        "agent": runner.agent.state_dict(),
        "memory": runner.memory.state_dict(),
        "callbacks": runner.callbacks.state_dict(),
    }


def compare(one: Mapping[str, Any], other: Mapping[str, Any], text: str) -> None:
    found = differences(one, other)
    path, gap = next(iter(found.items()), ("", 0.0))
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    cause = "state_dict should hold all that training changes, and random numbers come from dqn.seeding"
    require(not found, f"{text}: {path}{more} differ (by up to {gap:.3g}); {cause}")


def resume(candidate: Candidate) -> str:
    """Check that equal runs are equal, and that a stopped and resumed run equals one that never stopped."""
    values = tiny(candidate, 0, 2)
    straight, again = (final_state(candidate, values) for _ in range(2))
    compare(straight, again, "two runs of the same seed are not equal")
    with TemporaryDirectory() as folder:
        stopped = candidate.runner(Path(folder), values)
        act, calls = stopped.agent.actor.act, iter(range(STOP))

        def act_and_stop(*args: Any) -> Any:
            if next(calls, None) is None:
                stopped.stop.set()
            return act(*args)

        setattr(stopped.agent.actor, "act", act_and_stop)  # noqa: B010
        with suppress(KeyboardInterrupt):
            stopped.run()
        require(stopped.iteration == 1, "a run continued after it was asked to stop")
        resumed = final_state(candidate, values, Path(folder))
    compare(straight, resumed, "a run that was stopped and resumed differs from one that never stopped")
    return "bit for bit"


def seed_alone(candidate: Candidate) -> str:
    """Check that a seed trained alone equals that seed beside another one; return how exactly."""
    ours = networks_from(0, final_state(candidate, tiny(candidate, 1, 1)))
    theirs = networks_from(1, final_state(candidate, tiny(candidate, 0, 2)))
    found = differences(ours, theirs)
    if not found:
        return "bit for bit"
    path, gap = max(found.items(), key=lambda item: item[1])
    largest = max(abs(array(leaf)).max() for leaf in ours["policy"].values())
    text = f"the final parameters of seed 1 alone differ from those beside seed 0: {path} by {gap:.3g}"
    require(gap <= ROUNDING * largest, f"{text}; no seed should depend on the others")
    return f"within {gap:.2g}; not bit for bit"


def networks_from(k: int, state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameters of both networks from the seed with index k on."""
    networks = {"policy": state["policy"], "target": state["agent"]["target"]}
    return {part: {name: leaf[k:] for name, leaf in leaves.items()} for part, leaves in networks.items()}
