"""Evaluation: fresh environments, streams of its own, nothing of training touched."""

from collections.abc import Callable, Sequence

import numpy as np

from dqn.agent import Policy
from dqn.env import Environments
from dqn.seeding import Uniforms, stream
from dqn.types import Array, Floats, Probability

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
        try:
            rounds = [self._round(env, policy, env.reset(place), place, 0)]
            while len(rounds) * self.columns < self.episodes:
                obs = env.restart(np.ones_like(rounds[-1], bool))
                rounds.append(self._round(env, policy, obs, place, len(rounds)))
        finally:
            env.close()
        return np.concatenate(rounds, axis=-1)[:, : self.episodes]

    def _round(self, env: Environments, policy: Policy, obs: Array, *place: int) -> Floats:
        """Play one episode in each column; return their returns [K, columns]."""
        streams = [stream(seed, self.purpose + " exploration", *place) for seed in self.seeds]
        uniforms = Uniforms(streams, (self.columns, 2))
        all_seeds = np.ones(len(self.seeds), bool)
        returns = np.zeros((len(self.seeds), self.columns))
        waiting = np.zeros(returns.shape, bool)
        while not waiting.all():
            step = env.step(policy.act(obs, self.epsilon, uniforms.next(all_seeds)))
            returns += step.raw_reward
            ended = step.terminated | step.truncated
            obs = step.next_obs
            if ended.any():
                waiting |= ended
                env.pause(ended)
        return returns
