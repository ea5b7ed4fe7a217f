"""Replay memory: NumPy rows go in, torch batches come out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn.memory.n_step import NStep
from dqn.memory.protocols import Sampler
from dqn.memory.ring import Ring
from dqn.types import Array, Batch, EnvSpec, Floats, Integers, PositiveInt, Row, Sample


class ReplayMemory:
    """The latest rows of each seed, read by `reader` at the starts that `sampler` draws.

    Lin (1992); Mnih et al. (2015).

    Args:
        capacity: rows per seed, closing rows included.
        reader: makes the reader, given gamma.
        sampler: makes the sampler, given the ring and the seeds.
        gamma: discount of one step.
        spec: observations and actions.
        seeds: the K seeds.
        num_envs: environments per seed, E.
        device: where batches go.
    """

    MOST_PENDING = 256

    def __init__(
        self,
        *,
        capacity: PositiveInt,
        reader: Callable[..., NStep],
        sampler: Callable[..., Sampler],
        gamma: float,
        spec: EnvSpec,
        seeds: Sequence[int],
        num_envs: int,
        device: torch.device,
    ) -> None:
        self.reader = reader(gamma=gamma)
        self.ring = Ring(
            capacity=capacity, span=self.reader.span, num_seeds=len(seeds), num_envs=num_envs, spec=spec
        )
        self.sampler = sampler(ring=self.ring, seeds=seeds)
        self.device = device
        self._shares = device.type == "cpu"  # tensors have the memory of arrays
        self._pending: list[Row] = []
        self._most_pending = min(self.MOST_PENDING, self.ring.longest_push)

    @property
    def least_stored(self) -> int:
        """Return how many transitions a seed must have stored to have a sample, wherever its episodes end."""
        return (self.ring.span - 1) * self.ring.num_envs + 1

    def push(self, row: Row) -> None:
        """Store one step of every active environment; its arrays are kept and must not change."""
        self._pending.append(row)
        if len(self._pending) == self._most_pending:
            self._store()

    def _store(self) -> None:
        """Write what is pending: many steps at once cost little more than one."""
        if self._pending:
            self.sampler.changed(self.ring.push(self._pending))
            self._pending.clear()

    @property
    def stored(self) -> Integers:
        """Return how many transitions each seed has ever stored [K]."""
        self._store()
        counts: Integers = self.ring.stored.reshape(-1, self.ring.num_envs).sum(-1)
        return counts

    def sample(self, batch_size: int) -> Sample:
        """Return `batch_size` transitions of each seed, with replacement."""
        self._store()
        start, weight = self.sampler.sample(batch_size)
        reward, discount, following = self.reader(self.ring, start)
        batch = Batch(
            obs=self._obs(start),
            action=self._tensor(self.ring.action.take(start).astype(np.int64)),
            reward=self._tensor(reward),
            discount=self._tensor(discount),
            next_obs=self._obs(following),
        )
        return Sample(batch, self._tensor(weight), start)

    def update_priorities(self, row: Integers, priority: Floats) -> None:
        """Tell the sampler how wrong the predictions of a sample were, both [K, B]."""
        self.sampler.update(row, priority)

    def observations(self, count: int) -> Array:
        """Return observations [K, count, ...], spread evenly over the rows of each seed's first environment.

        They are drawn from no stream: looking at them changes nothing.
        """
        self._store()
        firsts = np.arange(self.ring.num_seeds) * self.ring.num_envs
        spread = [np.linspace(0, last, count).astype(np.int64) for last in self.ring.filled[firsts] - 1]
        rows: Array = np.stack(spread) + firsts[:, None] * self.ring.rows
        return self.ring.obs[rows]

    def reward_range(self) -> tuple[float, float]:
        """Return the least and the greatest reward stored, as learning sees them."""
        self._store()
        return float(self.ring.reward.min()), float(self.ring.reward.max())

    def _obs(self, rows: Integers) -> Tensor:
        return self._tensor(self.ring.obs.take(rows, axis=0))

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self._shares else tensor.to(self.device)

    def __len__(self) -> int:
        """Return the number of transitions that can be sampled now, of the seed that has the fewest."""
        self._store()
        return int(self.ring.is_start.reshape(self.ring.num_seeds, -1).sum(-1).min())

    def state_dict(self) -> dict[str, Any]:
        self._store()
        return {
            "ring": self.ring.state_dict(),
            "sampler": self.sampler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ring.load_state_dict(state["ring"])
        self.sampler.load_state_dict(state["sampler"])
