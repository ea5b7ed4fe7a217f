"""Replay memory: NumPy rows go in, torch batches come out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn.devices import to_device
from dqn.errors import WrongValue
from dqn.memory.protocols import MakeReader, MakeSampler, Reader, Sampler
from dqn.memory.ring import CLOSING, CONTINUES, Ring
from dqn.memory.segments import Segments
from dqn.memory.sequences import Sequences
from dqn.types import Array, Batch, EnvSpec, Floats, Integers, NetworkSpec, PositiveInt, Row, Sample, Window

RECENT = 10_000
"""Rows of each environment whose returns are computed, which takes a fifth of a second."""


class ReplayMemory:
    """The latest rows of each seed: `sampler` draws starts, `reader` reads samples. Mnih et al. (2015).

    Args:
        capacity: rows per seed, including closing rows.
        reader: makes the reader.
        sampler: makes the sampler.
        gamma: discount of one step.
        spec: observations and actions.
        seeds: the K seeds.
        num_envs: environments per seed, E.
        device: device of the batches.
        network: what the network needs of its batches.

    Raises:
        WrongValue: the reader does not read what the network needs.
    """

    def __init__(
        self,
        *,
        capacity: PositiveInt,
        reader: MakeReader,
        sampler: MakeSampler,
        gamma: float,
        spec: EnvSpec,
        seeds: Sequence[int],
        num_envs: int,
        device: torch.device,
        network: NetworkSpec,
    ) -> None:
        self.reader, self.network = reader(gamma=gamma), network
        check_reader(self.reader, network)
        windows = self.reader.windows(network.carry_size) if isinstance(self.reader, Sequences) else None
        ring = Ring(
            capacity=capacity,
            span=self.reader.span,
            num_seeds=len(seeds),
            num_envs=num_envs,
            spec=spec,
            windows=windows,
        )
        self.sampler = sampler(ring=ring, seeds=seeds)
        self.device = device
        # the stacks of one step share all but one frame; the network copies views of integers anyway
        self._shares_frames = ring.stack > 1 and ring.span == 1 and ring.obs.dtype.kind in "iu"
        self._pending = PendingRows(ring, self.sampler)
        self._segments = Segments(ring)

    @property
    def ring(self) -> Ring:
        """Return the ring with every row that has been pushed."""
        return self._pending.flush()

    @property
    def least_stored(self) -> int:
        """Return the number of stored transitions from which on a seed has a start, wherever episodes end."""
        ring = self.ring
        return (ring.span - 1) * ring.num_envs + 1

    def push(self, row: Row) -> None:
        """Store one step of every active environment. The arrays are kept and must not change."""
        self._pending.append(row)

    def sample(self, batch_size: int) -> Sample:
        """Return `batch_size` transitions, or windows, of each seed, with replacement."""
        ring = self.ring
        start, weight = self.sampler.sample(batch_size)
        if isinstance(self.reader, Sequences):
            return Sample(self._windows(self.reader, start), self._tensor(weight), start)
        reward, discount, following = self.reader(ring, start)
        obs, next_obs = self._observations(start, following)
        batch = Batch(
            obs=obs,
            action=self._tensor(ring.action.take(start).astype(np.int64)),
            reward=self._tensor(reward),
            discount=self._tensor(discount),
            next_obs=next_obs,
            mask=self._mask(start),
            next_mask=self._mask(following),
        )
        return Sample(batch, self._tensor(weight), start)

    def _observations(self, start: Integers, following: Integers) -> tuple[Tensor, Tensor]:
        """Return the observations at the starts and at the rows after their samples, [K, B, ...]."""
        ring = self.ring
        if self._shares_frames:
            frames = self._tensor(ring.latest(following, ring.stack + 1))
            return frames[:, :, :-1], frames[:, :, 1:]
        return self._tensor(ring.observations(start)), self._tensor(ring.observations(following))

    def _windows(self, reader: Sequences, start: Integers) -> Batch:
        """Return the batch of the windows that start at the rows `start` [K, B]."""
        ring, tensor = self.ring, self._tensor
        steps = reader(ring, start)
        burn_in, batch_size = reader.burn_in, start.shape[1]
        learned = steps.rows[:, burn_in:]
        following = np.take_along_axis(learned, steps.following, 1)

        def flat(array: Array) -> Tensor:
            return tensor(array.reshape(len(array), -1))

        share = steps.valid / steps.valid.mean((1, 2), keepdims=True)
        window = Window(
            following=flat(steps.following * batch_size + np.arange(batch_size)),
            share=flat(share.astype(np.float32)),
            exists=tensor(steps.exists.astype(np.float32)) if burn_in else None,
            carry=None if steps.carry is None else tensor(steps.carry),
            previous=tensor(reader.previous(ring, steps.rows)) if self.network.sees_action else None,
        )
        return Batch(
            obs=tensor(ring.observations(steps.rows)),
            action=flat(ring.action.take(learned[:, :-1]).astype(np.int64)),
            reward=flat(steps.reward),
            discount=flat(steps.discount),
            next_obs=None,
            mask=self._mask(learned[:, :-1].reshape(len(start), -1)),
            next_mask=self._mask(following.reshape(len(start), -1)),
            window=window,
        )

    def _mask(self, row: Integers) -> Tensor | None:
        """Return the valid actions at rows [K, B, A]; None if all always are."""
        mask = self.ring.mask
        return None if mask is None else self._tensor(mask.take(row, axis=0))

    def _tensor(self, array: Array) -> Tensor:
        return to_device(torch.from_numpy(array), self.device)

    def update_priorities(self, row: Integers, priority: Floats) -> None:
        """Set the priorities of a sample's rows [K, B] by its errors [K, B], of windows [K, T * B]."""
        if isinstance(self.reader, Sequences):
            priority = self.reader.priority(self.ring, row, priority)
        self.sampler.update(row, priority)

    def observations(self, count: int) -> Array:
        """Return observations [K, count, ...], spread evenly over the rows of each seed's first environment.

        No random stream advances.
        """
        ring = self.ring
        firsts = np.arange(ring.num_seeds) * ring.num_envs
        spread = [np.linspace(0, last, count).astype(np.int64) for last in ring.filled[firsts] - 1]
        oldest = ring.newest[firsts, None] + 1  # those that lack overwritten frames give way to the next
        age = np.maximum((np.stack(spread) - oldest) % ring.rows, ring.stack - 1)
        return ring.observations(firsts[:, None] * ring.rows + (oldest + age) % ring.rows)

    def return_range(self, gamma: float) -> tuple[float, float]:
        """Return the least and the greatest discounted sum of rewards from a recent row to its episode's end.

        The sums of episodes that have not ended, or that a limit ended, lack the rewards after that.
        """
        ring = self.ring
        row = ring.newest
        total, low, high = np.zeros(len(row)), 0.0, 0.0
        for _ in range(min(RECENT, int(ring.filled.max()) - 1)):
            row = ring.before(row, 1)
            end = ring.end.take(row)
            following = np.where(end == CONTINUES, gamma * total, 0.0)
            total = np.where(end == CLOSING, 0.0, following + ring.reward.take(row))
            low, high = min(low, total.min()), max(high, total.max())
        return float(low), float(high)

    @property
    def rows(self) -> Segments:
        """Return the checkpoint part with the rows of the ring; `state_dict` returns everything else."""
        self._pending.flush()
        return self._segments

    def state_dict(self) -> dict[str, Any]:
        return {"ring": self.ring.state_dict(), "sampler": self.sampler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ring.load_state_dict(state["ring"])
        self.sampler.load_state_dict(state["sampler"])


def check_reader(reader: Reader | Sequences, network: NetworkSpec) -> None:
    """Check that a reader reads what a network needs.

    Raises:
        WrongValue: it does not.
    """
    if network.carry_size and not isinstance(reader, Sequences):
        should = "should be sequences for a recurrent core; type memory/reader=sequences"
        raise WrongValue("memory.reader", type(reader).__name__, should)
    if not network.carry_size and isinstance(reader, Sequences):
        should = "should be sequences only with a recurrent core; type network/core=gru"
        raise WrongValue("memory.reader", type(reader).__name__, should)


class PendingRows:
    """Rows waiting to be written into the ring, because many at once cost little more than one.

    Args:
        ring: the ring that the rows are written into.
        sampler: the sampler, which gets the changes of the ring.
    """

    MOST = 256
    """Steps buffered before a write; more save little and keep more arrays alive."""

    def __init__(self, ring: Ring, sampler: Sampler) -> None:
        self._ring, self._sampler = ring, sampler
        self._rows: list[Row] = []
        self._most = min(self.MOST, ring.longest_push)

    def append(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == self._most:
            self.flush()

    def flush(self) -> Ring:
        """Write all rows into the ring and return it."""
        if self._rows:
            self._sampler.changed(self._ring.push(self._rows))
            self._rows.clear()
        return self._ring
