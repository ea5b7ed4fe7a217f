"""All parameters of all seeds as views of one buffer."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dqn.devices import holdable

ALIGNMENT = 16
"""Multiple of numbers to which each leaf is padded: 64 bytes, a vector register.

The vector body and the scalar tail of a kernel round differently, and so do products on unaligned memory. If
every leaf of every seed is aligned, the numbers of a seed do not depend on the number of seeds beside it.
"""


class Flat(NamedTuple):
    """The parameters of one network."""

    value: Tensor  # [K, P], P a multiple of ALIGNMENT
    leaves: list[nn.Parameter]  # views of `value`, [K, ...] each
    gradient: Tensor  # [K, P]

    def set_gradient(self, gradients: Sequence[Tensor]) -> Tensor:
        """Put the gradients of the leaves into `gradient` [K, P] and return it."""
        parts = []
        for each in gradients:
            parts.append(each.reshape(len(each), -1))
            if gap := padding(each):
                parts.append(each.new_zeros(len(each), gap))
        return torch.cat(parts, 1, out=self.gradient)


def padding(leaf: Tensor) -> int:
    """Return the numbers of padding after each seed's part of a leaf [K, ...]."""
    return -(leaf.numel() // len(leaf)) % ALIGNMENT


def views(buffer: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return the views of a buffer [K, P] that hold the `leaves`, or their gradients."""
    found, start = [], 0
    for leaf in leaves:
        size = leaf[0].numel()
        found.append(buffer[:, start : start + size].view(leaf.shape))
        start += size + padding(leaf)
    return found


def flatten(network: nn.Module, device: torch.device) -> Flat:
    """Move a network to `device`, with its parameters as views of one buffer."""
    leaves = list(network.parameters())
    num_seeds = leaves[0].shape[0]
    size = sum(leaf[0].numel() + padding(leaf) for leaf in leaves)
    value, gradient = (torch.zeros(num_seeds, size, device=device) for _ in range(2))
    for leaf, view in zip(leaves, views(value, leaves), strict=True):
        view.copy_(leaf.data)
        leaf.data = view
    for module in network.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else holdable(buffer, device).to(device)
        # plain attributes with the same objects are found faster than by nn.Module
        module.__dict__.update(module._parameters | module._buffers | module._modules)
    return Flat(value, leaves, gradient)
