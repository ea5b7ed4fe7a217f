"""Each seed's best policy, selected by the periodic evaluation and therefore biased upwards."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dqn.state import assign, check_formats
from dqn.storage.schema import BestState
from dqn.types import Array

State = dict[str, Any]


class Best:
    """For each seed, the policy whose periodic evaluation had the highest mean return.

    The highest of many noisy scores overestimates its policy, so `score` is not the result of a run.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds
        self.score = np.full(len(seeds), -np.inf)
        self.iteration = np.zeros(len(seeds), np.int64)
        self.changed = False
        """True if no checkpoint has the present policies yet."""
        self._policy: State = {}

    def evaluated(self, policy: State, returns: Array, iteration: int) -> None:
        """Keep the policies of those seeds that scored higher than ever before.

        Args:
            policy: parameters of all seeds [K, ...].
            returns: of the evaluation's episodes [K, episodes].
            iteration: the iteration after which the evaluation took place.
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
        """Return each seed's best periodic evaluation, for the status; None if there was none."""
        seeds = {
            str(seed): {"mean_return": float(score), "iteration": int(iteration)}
            for seed, score, iteration in zip(self.seeds, self.score, self.iteration, strict=True)
            if iteration
        }
        return {"note": "selected by evaluation, so biased upwards", "seeds": seeds} if seeds else None

    def state_dict(self) -> BestState:
        return {"policy": self._policy, "score": self.score.tolist(), "iteration": self.iteration.tolist()}

    def check(self, policy: State) -> None:
        """Raise ValueError if the policies are not of this network."""
        if self._policy:
            check_formats(self._policy, policy)

    def load_state_dict(self, state: BestState) -> None:
        if not state["policy"]:
            raise ValueError("it has no policy")
        assign(self.score, state["score"])
        assign(self.iteration, state["iteration"])
        self._policy = state["policy"]
