"""The policies that a checkpoint holds: the last, and the best of each seed, which are selected."""

from typing import Any, NamedTuple

from dqn.agent import Policy
from dqn.errors import UserError, format_value
from dqn.storage.checkpoint import Checkpoint

SELECTED = "selected: the policy of each seed's highest periodic evaluation, so biased upwards"


class Origin(NamedTuple):
    """Where loaded policies come from."""

    iterations: list[int]
    """After how many iterations each was stored."""
    selected: str | None
    """What to know of policies that were selected; None of the last."""


def wrong_policy(which: object) -> str | None:
    """Return what is wrong with a choice of policies."""
    return None if which in ("last", "best") else f"policy={format_value(which)}: should be 'last' or 'best'"


def load_policies(policy: Policy, checkpoint: Checkpoint, which: str, *, count: int, rows: slice) -> Origin:
    """Load the last or the best policies of a run.

    Args:
        policy: takes them.
        checkpoint: has them.
        which: last or best.
        count: how many seeds the run has.
        rows: which of them `policy` has.

    Raises:
        UserError: there are none, they are damaged or another run's.
    """
    if problem := wrong_policy(which):
        raise UserError(problem)
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
    return Origin(iterations[rows], SELECTED if best else None)
