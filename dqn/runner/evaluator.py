"""Evaluation on separate environments and random streams, so that training does not notice it."""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np

from dqn.agent import Actor, Policy
from dqn.env import Environments
from dqn.runner.clock import whole_rounds
from dqn.runner.collector import Collector
from dqn.seeding import Uniforms, stream
from dqn.types import Floats, Probability

log = logging.getLogger(__name__)

Watch = Callable[[int, int, int], None]
"""Called with the episodes that ended, the number of all episodes, and the step of those being played."""


def unwatched(done: int, total: int, step: int) -> None:
    """Show nothing."""


class Evaluator:
    """Plays whole episodes with a policy.

    Args:
        make_env: makes Environments, given num_envs, vectorization, seeds, role and training.
        seeds: the K seeds.
        episodes: number of episodes per seed.
        epsilon: the probability of a random action.
        num_envs: greatest number of environments per seed that are stepped together.
        max_steps: environment steps after which an episode is cut; None: never.
        role: names the random streams; evaluations of different roles play different episodes.
    """

    def __init__(
        self,
        *,
        make_env: Callable[..., Environments],
        seeds: Sequence[int],
        episodes: int,
        epsilon: Probability,
        num_envs: int,
        max_steps: int | None,
        role: str,
    ) -> None:
        self.seeds, self.episodes, self.epsilon, self.role = seeds, episodes, epsilon, role
        self.columns, self.max_steps = min(episodes, num_envs), max_steps
        self._make_env = make_env

    def __call__(self, policy: Policy, index: int, watch: Watch = unwatched) -> Floats:
        """Return the undiscounted raw returns [K, episodes].

        Every column plays the same number of whole episodes, so short episodes are not favoured.

        Args:
            policy: chooses the actions.
            index: the number of this evaluation, such as the iteration; each has its own random streams.
            watch: is called after each step; of the last round it counts only the episodes that are returned.
        """
        rounds, cut, done = -(-self.episodes // self.columns), 0, 0
        returns: Floats = np.zeros((len(self.seeds), rounds, self.columns))
        total = len(self.seeds) * self.episodes
        env = self._make_env(
            num_envs=self.columns, vectorization="sync", seeds=self.seeds, role=self.role, training=False
        )
        collector = Collector(env=env, actor=policy.actor(), ticks=whole_rounds)
        with closing(env):
            collector.start(index)
            for number in range(rounds):
                collector.actor = self._actor(policy, index, number)
                counted = self.episodes - number * self.columns
                ended, steps = False, 0
                while not ended and steps != self.max_steps:
                    step = collector.collect(self.epsilon, rounds - number)
                    returns[:, number] += step.raw_reward
                    ended, steps = step.ticks > 0, steps + 1
                    done += int(np.count_nonzero(step.ended[:, :counted]))
                    watch(done, total, steps)
                if not ended:
                    cut += collector.cut()
        if cut:
            text = "warning: runner.eval_max_steps=%d cut %d of %d evaluation episodes; env.max_episode_steps"
            log.warning(f"{text} limits those of training too", self.max_steps, cut, returns.size)
        return returns.reshape(len(self.seeds), -1)[:, : self.episodes]

    def _actor(self, policy: Policy, *indices: int) -> Actor:
        streams = [stream(seed, f"{self.role} exploration", *indices) for seed in self.seeds]
        return policy.actor(exploration=Uniforms(streams, (self.columns, 2)))
