"""The best policies by evaluation: selected, and therefore biased upwards."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dqn.types import Array

State = dict[str, Any]


class Best:
    """Of each seed the policy of the periodic evaluation in which its mean return was the highest.

    The highest of many noisy scores is higher than what its policy is worth: `score` is no run's result.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds
        self.score = np.full(len(seeds), -np.inf)
        self.iteration = np.zeros(len(seeds), np.int64)
        self.changed = False
        """Whether there are policies that no checkpoint has."""
        self._policy: State = {}

    def evaluated(self, policy: State, returns: Array, iteration: int) -> None:
        """Keep the policies of those seeds whose returns [K, episodes] are better than ever.

        Args:
            policy: parameters of all seeds [K, ...].
            returns: of the evaluation.
            iteration: after which it was.
        """
        score = returns.mean(-1)
        better = score > self.score
        if not better.any():
            return
        self.score[better], self.iteration[better] = score[better], iteration
        where = torch.from_numpy(better)
        for name, leaf in policy.items():
            stored = leaf.cpu()  # checkpoints are loaded there too, for a policy on any device
            self._policy.setdefault(name, stored.clone())[where] = stored[where]
        self.changed = True

    def summary(self) -> State | None:
        """Return each seed's best periodic evaluation, for the status; None without any."""
        seeds = {
            str(seed): {"mean_return": float(score), "iteration": int(iteration)}
            for seed, score, iteration in zip(self.seeds, self.score, self.iteration, strict=True)
            if iteration
        }
        return {"note": "selected by evaluation, so biased upwards", "seeds": seeds} if seeds else None

    def state_dict(self) -> State:
        return {"policy": self._policy, "score": self.score.tolist(), "iteration": self.iteration.tolist()}

    def load_state_dict(self, state: State) -> None:
        self._policy = state["policy"]
        self.score[:] = state["score"]
        self.iteration[:] = state["iteration"]
