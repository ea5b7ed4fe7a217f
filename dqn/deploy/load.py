"""Load the policies of a checkpoint: each seed's last one, or its best one by periodic evaluation."""

import logging

import torch

from dqn.agent import Policy
from dqn.errors import UserError, WrongValue
from dqn.storage.checkpoint import Checkpoint, most_bytes

log = logging.getLogger(__name__)

SELECTED = "selected: the policy of each seed's highest periodic evaluation, so biased upwards"


def load_policies(
    policy: Policy, checkpoint: Checkpoint, which: str, *, seeds: range, rows: slice
) -> tuple[list[int], str | None]:
    """Load the last or the best policies of a run.

    Return the iteration after which each was stored and, for the best ones, a note that they were selected.

    Args:
        policy: receives them.
        checkpoint: the run's.
        which: "last" or "best".
        seeds: the seeds of the run.
        rows: selects the seeds that `policy` has.

    Raises:
        UserError: the policies are missing, damaged, or of another run.
    """
    if which not in ("last", "best"):
        raise WrongValue("policy", which, "should be 'last' or 'best'")
    best, count = which == "best", len(seeds)
    if best and not checkpoint.has("best"):
        raise UserError(f"{checkpoint.folder}: policy=best: the run has had no periodic evaluation")
    name = "best" if best else "policy"
    part = checkpoint.load(name, most=count * most_bytes(policy.state_dict()))
    try:
        leaves = part["policy"] if best else part
        iterations = part["iteration"] if best else [checkpoint.iteration()] * count
        if {len(leaf) for leaf in leaves.values()} | {len(iterations)} != {count}:
            raise ValueError(f"it is not one of {count} seeds")
        policy.load_state_dict({name: leaf[rows] for name, leaf in leaves.items()})
    except Exception as error:  # a custom network may raise anything
        raise checkpoint.foreign(name, error) from None
    warn_of_odd_parameters(policy, seeds[rows])
    return iterations[rows], SELECTED if best else None


def warn_of_odd_parameters(policy: Policy, seeds: range) -> None:
    """Log the seeds whose parameters are not finite; such a policy still chooses actions."""
    leaves = [leaf.isfinite().flatten(1).all(1) for leaf in policy.network.parameters()]
    finite = torch.stack(leaves).all(0).tolist()
    for seed, is_finite in zip(seeds, finite, strict=True):
        if not is_finite:
            log.warning("warning: the policy of seed %d has parameters that are not finite numbers", seed)
