"""Trees of sums or minima over many numbers of which few change at a time, for K seeds at once."""

import numpy as np

from dqn.types import Floats, Integers

MOST_ON_TOP = 4096
"""Numbers in the top level of a seed at most; searching them all costs no more than one more level."""


class Tree:
    """Levels of float64 numbers, each the `ufunc` of two numbers of the level below, up to a wide top level.

    The lowest level holds the leaves of each seed in turn, padded with `empty`. A changed number is computed
    from the two below it, never by differences, so the leaves determine all levels bit for bit.

    Args:
        ufunc: np.add or np.minimum.
        empty: identity of `ufunc`, the value of a leaf that does not count.
        num_seeds: K.
        size: leaves of one seed.
    """

    def __init__(self, *, ufunc: np.ufunc, empty: float, num_seeds: int, size: int) -> None:
        self.ufunc, self.num_seeds, self.size = ufunc, num_seeds, size
        depth = 1
        while size > MOST_ON_TOP << depth:
            depth += 1
        self.top_size = -(-size >> depth)
        self.stride = self.top_size << depth
        """Leaf i of seed k is leaf k * stride + i of all."""
        self.levels = [np.full(num_seeds * self.stride >> level, empty) for level in range(depth + 1)]
        """Levels of all seeds, from the leaves to the top."""
        self._pairs = [level.reshape(-1, 2) for level in self.levels[:-1]]

    @property
    def leaves(self) -> Floats:
        """Return a view of the leaves [K, size]; call `rebuild` after writing to it."""
        return self.levels[0].reshape(self.num_seeds, -1)[:, : self.size]

    @property
    def top(self) -> Floats:
        """Return a view of the top level [K, top_size]."""
        return self.levels[-1].reshape(self.num_seeds, -1)

    def set(self, leaf: Integers, value: Floats) -> None:
        """Set leaves to values of the same shape; of several values for one leaf the last counts."""
        leaf = leaf.reshape(-1)
        self.levels[0][leaf] = value.reshape(-1)
        for pairs, level in zip(self._pairs, self.levels[1:], strict=True):
            leaf = leaf >> 1
            pair = pairs.take(leaf, axis=0)
            level[leaf] = self.ufunc(pair[:, 0], pair[:, 1])

    def rebuild(self) -> None:
        """Compute all levels from the leaves."""
        for pairs, level in zip(self._pairs, self.levels[1:], strict=True):
            level[:] = self.ufunc(pairs[:, 0], pairs[:, 1])

    def find(self, fraction: Floats) -> Integers:
        """Return the leaves [K, B] at the fractions [K, B], in [0, 1], of each seed's cumulated sum.

        Schaul et al. (2015), B.2.1. The tree must be one of sums, without negative leaves and with a positive
        sum for each seed. Rounding can shift the border between two leaves but never lead to a leaf of value
        0: the remainder stays at least 0 and, in the top level, less than the cumulated sum up to the chosen
        number; and below a positive number a child of value 0 is never chosen, since the other is positive.
        """
        num_seeds, count = fraction.shape
        cumulated = np.zeros((num_seeds, self.top_size + 1))
        np.cumsum(self.top, axis=1, out=cumulated[:, 1:])
        whole = cumulated[:, -1:]
        left = np.minimum(fraction * whole, np.nextafter(whole, 0.0))
        index = np.empty((num_seeds, count), np.int64)
        for k in range(num_seeds):
            index[k] = cumulated[k, 1:].searchsorted(left[k], "right")
            left[k] -= cumulated[k].take(index[k])
        index += np.arange(num_seeds)[:, None] * self.top_size
        return self._descend(index.reshape(-1), left.reshape(-1)).reshape(num_seeds, count)

    def _descend(self, index: Integers, left: Floats) -> Integers:
        """Return the leaves where the remainders `left` end, below the numbers `index` of the top level."""
        for pairs in reversed(self._pairs):
            pair = pairs.take(index, axis=0)
            first = pair[:, 0]
            is_second = (first <= left) & (pair[:, 1] > 0.0)
            left = left - first * is_second
            index = 2 * index + is_second
        return index
