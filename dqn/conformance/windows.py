"""Windows of successive steps as transitions, by which they are checked."""

from typing import Any

import numpy as np
import torch

from dqn.conformance.assertions import require_equal
from dqn.memory import Ring, Sequences
from dqn.memory.windows import Windows
from dqn.types import Array, Batch, Integers


def windows_of(reader: Any) -> Windows | None:
    """Return how a reader's windows lie, without stored carries; None if it reads no windows."""
    return reader.windows(0) if isinstance(reader, Sequences) else None


def span_of(reader: Any) -> int:
    """Return the largest number of steps whose rewards a reader sums."""
    return int(reader.n_step if isinstance(reader, Sequences) else reader.span)


def of_windows(read: Sequences, ring: Ring, start: Integers) -> list[Array]:
    """Return the rows, rewards, discounts and following rows of the valid steps of windows."""
    steps = read(ring, start)
    learned = steps.rows[:, read.burn_in :]
    require_equal(learned[:, 0], start, "a window does not begin at its start, after the burn-in")
    following = np.take_along_axis(learned, steps.following, 1)
    fields = (learned[:, :-1], steps.reward, steps.discount, following)
    return [field[steps.valid] for field in fields]


def transitions_of(batch: Batch, burn_in: int) -> Batch:
    """Return a batch of windows as one of their transitions; those after an episode repeat the first one."""
    assert batch.window is not None
    learned = batch.obs[:, burn_in:].flatten(1, 2)
    each = torch.arange(len(learned))[:, None]
    valid = batch.window.share > 0
    index = torch.where(valid, torch.arange(valid.shape[1]), valid.int().argmax(1, keepdim=True))
    action, reward, discount = (field[each, index] for field in batch[1:4])
    mask, next_mask = (None if field is None else field[each, index] for field in batch[5:7])
    next_obs = learned[each, batch.window.following[each, index]]
    return Batch(learned[each, index], action, reward, discount, next_obs, mask, next_mask)
