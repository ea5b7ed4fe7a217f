"""Evaluation: fresh environments, streams of its own, nothing of training touched."""

from collections.abc import Callable, Sequence

import numpy as np

from dqn.agent import Policy
from dqn.env import Environments
from dqn.runner.clock import whole_rounds
from dqn.runner.collector import Collector
from dqn.seeding import Uniforms, stream
from dqn.types import Floats, Probability

MAX_COLUMNS = 32
"""Environments per seed at once."""


class Evaluator:
    """Plays whole episodes with a policy.

    Args:
        make_env: makes Environments, given num_envs, seeds, purpose and training.
        seeds: the K seeds.
        episodes: per seed.
        epsilon: probability of a random action.
        purpose: names the streams; evaluations of different purposes play different episodes.
    """

    def __init__(
        self,
        *,
        make_env: Callable[..., Environments],
        seeds: Sequence[int],
        episodes: int,
        epsilon: Probability,
        purpose: str,
    ) -> None:
        self.seeds, self.episodes, self.epsilon, self.purpose = seeds, episodes, epsilon, purpose
        self.columns = min(episodes, MAX_COLUMNS)
        self._make_env = make_env

    def __call__(self, policy: Policy, place: int) -> Floats:
        """Return the undiscounted raw returns [K, episodes].

        Every column plays whole episodes, the same number each, so that short ones are not favoured.

        Args:
            policy: acts.
            place: tells this evaluation's streams from another's, such as the iteration.
        """
        env = self._make_env(
            num_envs=self.columns,
            vectorization="sync",
            seeds=self.seeds,
            purpose=self.purpose,
            training=False,
        )
        collector = Collector(env=env, actor=policy.actor(), ticks=whole_rounds)
        rounds = -(-self.episodes // self.columns)
        try:
            collector.start(place)
            returns = [self._round(collector, policy, place, number, rounds) for number in range(rounds)]
        finally:
            env.close()
        return np.concatenate(returns, axis=-1)[:, : self.episodes]

    def _round(self, collector: Collector, policy: Policy, place: int, number: int, rounds: int) -> Floats:
        """Play one episode in each column; return their returns [K, columns]."""
        streams = [stream(seed, self.purpose + " exploration", place, number) for seed in self.seeds]
        collector.actor = policy.actor(exploration=Uniforms(streams, (self.columns, 2)))
        returns: Floats = np.zeros((len(self.seeds), self.columns))
        ticks = 0
        while not ticks:
            _, raw_reward, _, ticks = collector.collect(self.epsilon, rounds - number)
            returns += raw_reward
        return returns
