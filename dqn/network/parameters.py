"""All parameters of all seeds as views of one buffer."""

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
    gradients: list[Tensor]  # views of it, one for each leaf


def flatten(network: nn.Module, device: torch.device) -> Flat:
    """Move the parameters of `network` into one buffer on `device`, as views of it, and its constants too."""
    leaves = list(network.parameters())
    num_seeds = leaves[0].shape[0]
    sizes = [leaf[0].numel() for leaf in leaves]
    padded = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
    value, gradient = (torch.zeros(num_seeds, sum(padded), device=device) for _ in range(2))
    gradients = []
    start = 0
    for leaf, size, step in zip(leaves, sizes, padded, strict=True):
        view = value[:, start : start + size].view(leaf.shape)
        view.copy_(leaf.data)
        leaf.data = view
        gradients.append(gradient[:, start : start + size].view(leaf.shape))
        start += step
    for module in network.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else buffer.to(device)
        # nn.Module finds these by a slow path; as plain attributes they are the same objects
        module.__dict__.update(module._parameters | module._buffers | module._modules)
    return Flat(value, leaves, gradient, gradients)
