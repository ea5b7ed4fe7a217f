"""All parameters of all seeds as views of one buffer."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

ALIGNMENT = 16
"""Numbers to which each leaf is padded: a vector register of 64 bytes.

A kernel's vector body and its scalar tail round differently, and so do products on unaligned memory. With
every leaf of every seed aligned, a seed's numbers do not depend on how many seeds are computed beside it.
"""


class Flat(NamedTuple):
    """The parameters of one network."""

    value: Tensor  # [K, P], P a multiple of ALIGNMENT
    leaves: list[nn.Parameter]  # views of it, [K, ...] each
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
    """Return how many numbers fill up a leaf [K, ...] of each seed."""
    return -(leaf.numel() // len(leaf)) % ALIGNMENT


def views(buffer: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return the parts of a buffer [K, P] in which the `leaves`, or their gradients, lie."""
    found, start = [], 0
    for leaf in leaves:
        size = leaf[0].numel()
        found.append(buffer[:, start : start + size].view(leaf.shape))
        start += size + padding(leaf)
    return found


def flatten(network: nn.Module, device: torch.device) -> Flat:
    """Move the parameters of `network` into one buffer on `device`, as views of it, and its constants too."""
    leaves = list(network.parameters())
    num_seeds = leaves[0].shape[0]
    size = sum(leaf[0].numel() + padding(leaf) for leaf in leaves)
    value, gradient = (torch.zeros(num_seeds, size, device=device) for _ in range(2))
    for leaf, view in zip(leaves, views(value, leaves), strict=True):
        view.copy_(leaf.data)
        leaf.data = view
    for module in network.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else buffer.to(device)
        # nn.Module finds these by a slow path; as plain attributes they are the same objects
        module.__dict__.update(module._parameters | module._buffers | module._modules)
    return Flat(value, leaves, gradient)
