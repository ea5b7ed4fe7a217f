"""Print the mean greedy return of Taxi's policies over all states in which an episode may start.

python scripts/taxi.py RUN ...

The results are exact, no samples: the states' transitions are known. For comparison there is a memory that
forgets the masks, so that they count in acting alone:

PYTHONPATH=scripts python scripts/train.py +experiment=taxi memory._target_=taxi.ForgetsMasks
"""

import argparse
from pathlib import Path
from typing import Any

import checkout  # noqa: F401 (first: it finds the package)
import gymnasium
import numpy as np

import dqn
from dqn.memory import ReplayMemory
from dqn.storage.folder import RunFolder, seeds_of
from dqn.types import Array, Floats, Integers, Sample

LIMIT = 200
"""Steps after which an episode is truncated."""


class ForgetsMasks(ReplayMemory):
    """A memory whose batches have no masks."""

    def sample(self, batch_size: int) -> Sample:
        sample = super().sample(batch_size)
        return sample._replace(batch=sample.batch._replace(mask=None, next_mask=None))


class Taxi:
    """The transitions, masks and starts of all states of the environment."""

    def __init__(self) -> None:
        env: Any = gymnasium.make("Taxi-v4").unwrapped
        states, actions = env.observation_space.n, env.action_space.n
        self.starts: Floats = env.initial_state_distrib
        self.masks: Array = np.stack([env.action_mask(state) for state in range(states)])
        moves = np.array([[env.P[state][a][0][1:] for a in range(actions)] for state in range(states)], float)
        self.following = moves[..., 0].astype(np.int64)
        self.reward, self.ends = moves[..., 1], moves[..., 2] > 0

    def returns(self, action: Integers) -> float:
        """Return the mean return of a policy that takes action [states]."""
        state = np.flatnonzero(self.starts)
        total, active = np.zeros(len(state)), np.ones(len(state), np.bool_)
        for _ in range(LIMIT):
            at = state, action[state]
            total += np.where(active, self.reward[at], 0.0)
            active &= ~self.ends[at]
            state = self.following[at]
        return float(np.average(total, weights=self.starts[self.starts > 0]))

    def best(self) -> Integers:
        """Return the best actions [states], by value iteration."""
        value = np.zeros(len(self.starts))
        for _ in range(LIMIT):
            q = self.reward + np.where(self.ends, 0.0, value[self.following])
            value = q.max(1)
        action: Integers = q.argmax(1)
        return action


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run folder")
    arguments = parser.parse_args()
    taxi = Taxi()
    print(f"optimum: {taxi.returns(taxi.best()):.3f}")
    states = np.arange(len(taxi.starts))
    for run in arguments.runs:
        config = RunFolder(Path(run)).read_config()
        masks = [] if config["env"]["action_mask"] is None else [taxi.masks]
        policies = [dqn.load(run, seed=seed, trust=["taxi"]) for seed in seeds_of(config)]
        found = [taxi.returns(np.asarray(policy(states, *masks))) for policy in policies]
        print(f"{run}: mean {np.mean(found):.2f}, seeds {' '.join(f'{one:.2f}' for one in found)}")


if __name__ == "__main__":
    main()
