"""Load the policies of a checkpoint: each seed's last one, or its best one by periodic evaluation."""

from typing import Any

from dqn.agent import Policy
from dqn.errors import UserError, WrongValue
from dqn.storage.checkpoint import Checkpoint

SELECTED = "selected: the policy of each seed's highest periodic evaluation, so biased upwards"


def load_policies(
    policy: Policy, checkpoint: Checkpoint, which: str, *, count: int, rows: slice
) -> tuple[list[int], str | None]:
    """Load the last or the best policies of a run.

    Return the iteration after which each was stored and, for the best ones, a note that they were selected.

    Args:
        policy: receives them.
        checkpoint: the run's.
        which: "last" or "best".
        count: number of seeds in the run.
        rows: the indices of the seeds that `policy` has.

    Raises:
        UserError: the policies are missing, damaged, or of another run.
    """
    if which not in ("last", "best"):
        raise WrongValue("policy", which, "should be 'last' or 'best'")
    best = which == "best"
    if best and not checkpoint.has("best"):
        raise UserError(f"{checkpoint.folder}: policy=best: the run has had no periodic evaluation")
    part: Any = checkpoint.load("best" if best else "policy")
    try:
        leaves = part["policy"] if best else part
        iterations = [int(i) for i in part["iteration"]] if best else [checkpoint.iteration()] * count
        if {len(leaf) for leaf in leaves.values()} | {len(iterations)} != {count}:
            raise ValueError(f"it is not one of {count} seeds")
        policy.load_state_dict({name: leaf[rows] for name, leaf in leaves.items()})
    except (ValueError, TypeError, AttributeError, RuntimeError, KeyError) as error:
        raise UserError(f"{checkpoint.folder}: the policy is not of this run ({error})") from None
    return iterations[rows], SELECTED if best else None
