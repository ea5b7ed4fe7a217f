"""Check of callbacks: every hook runs, and a new object takes over the state."""

from pathlib import Path
from tempfile import TemporaryDirectory

from dqn.conformance.assertions import Failure, differences, require
from dqn.conformance.candidate import Candidate
from dqn.conformance.runs import CLOCK, tiny
from dqn.errors import EnvFailed, UserError
from dqn.storage.checkpoint import to_tensors


def callbacks(candidate: Candidate) -> None:
    """Check all callbacks in a tiny run with evaluations."""
    values = tiny(candidate, 0, 2) | {"runner": CLOCK | {"eval_period": 1, "eval_episodes": 1}}
    with TemporaryDirectory() as folder, TemporaryDirectory() as other:
        runner = candidate.runner(Path(folder), values)
        again = candidate.runner(Path(other), values).callbacks
        try:
            runner.run()
            state = to_tensors(runner.callbacks.state_dict())
            again.load_state_dict(state)
            found = differences(to_tensors(again.state_dict()), state)
        except EnvFailed:
            raise
        except UserError as error:
            raise Failure(str(error)) from None
    text = "after load_state_dict, state_dict should return the same; these differ: "
    require(not found, text + ", ".join(f"callbacks{path}" for path in found))
