"""A torso of ordinary modules, one for each seed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dqn.errors import WrongValue, one_line
from dqn.network.protocols import Generators, MakeLayer, MakeModule
from dqn.types import Rng

KEY = "network.torso.module"


class StackedModule(nn.Module):
    """Ordinary modules, one for each seed: [K, B, *in_shape] to [K, B, out_features].

    The modules run one after the other: torch.func.vmap over them cannot be exported, and its numbers would
    depend on K. Each is made, and lazy layers get their sizes, with torch's generator seeded from that of
    its seed. Parameters that need no gradient stay as they are made and are in no checkpoint, like buffers.

    Args:
        module: makes a torch.nn.Module that maps observations [B, *in_shape] to features [B, out_features].
        layer: not used; the module has its own layers.
        in_shape: shape of an observation.
        generators: one for the initial parameters of each seed.

    Raises:
        WrongValue: the module returns something else, changes its buffers (as BatchNorm does) or draws random
            numbers (as Dropout does).
    """

    def __init__(
        self, *, module: MakeModule, layer: MakeLayer, in_shape: Sequence[int], generators: Generators
    ) -> None:
        super().__init__()
        del layer
        copies: list[nn.Module] = []
        for generator in generators:
            with torch.random.fork_rng(devices=[]):
                seed = torch.randint(2**63 - 1, (), generator=generator, device="cpu")
                torch.set_rng_state(torch.Generator().manual_seed(int(seed)).get_state())
                copies.append(module(in_shape=in_shape))
                self.out_features = find_features(copies[-1], tuple(in_shape))
        self.stacked = nn.Module()
        """The parameters and buffers of all seeds, under the modules' names with / for the dots."""
        self._names: dict[str, str] = {}
        """The names in `stacked` and in the modules."""
        states = [state_of(each) for each in copies]
        for name, first in states[0].items():
            alias = name.replace(".", "/")
            self._names[alias] = name
            values = torch.stack([state[name].detach() for state in states])
            if isinstance(first, nn.Parameter) and first.requires_grad:
                self.stacked.register_parameter(alias, nn.Parameter(values))
            else:
                self.stacked.register_buffer(alias, values)
        self._skeleton = (copies[0].to("meta"),)  # a tuple, so that its parameters are not the network's

    def forward(self, x: Tensor, rng: Rng | None) -> Tensor:
        (skeleton,) = self._skeleton
        values = [getattr(self.stacked, alias).unbind() for alias in self._names]
        features = []
        for x_k, *own in zip(x.unbind(), *values, strict=True):
            state = dict(zip(self._names.values(), own, strict=True))
            # the copy, and the gradient of the product, begin at aligned addresses for any number of seeds
            features.append(functional_call(skeleton, state, (x_k.clone(),)) * 1)
        return torch.stack(features)


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module by name."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@torch.no_grad()
def find_features(module: Any, in_shape: tuple[int, ...]) -> int:
    """Return the number of features of a module, found by trials on zeros; the first sizes lazy layers.

    Raises:
        WrongValue: it cannot be the module of a torso.
    """
    if not isinstance(module, nn.Module):
        raise WrongValue(KEY, one_line(module), "should make a torch.nn.Module")
    features = try_module(module, (2, *in_shape))
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    state = torch.get_rng_state()
    try_module(module, (2, *in_shape))
    changed = [name for name, buffer in module.named_buffers() if not torch.equal(buffer, buffers[name])]
    if changed:
        should = f"should not change its buffers in the forward pass, but changed {changed[0]}"
        raise wrong(module, f"{should}; nn.LayerNorm or nn.GroupNorm can replace BatchNorm")
    if not torch.equal(state, torch.get_rng_state()):
        should = "should draw no random numbers in the forward pass, because they are not its seed's"
        raise wrong(module, f"{should}; remove nn.Dropout and the like")
    try_module(module, (1, *in_shape))
    return features


def try_module(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the number of features that a module returns for zeros of a shape [B, *in_shape].

    Raises:
        WrongValue: it returns no features [B, F].
        Exception: what the module raises, with a note.
    """
    try:
        out = module(torch.zeros(shape))
    except Exception as error:
        error.add_note(f"in a trial of {KEY} on observations {list(shape)}")
        raise
    if not isinstance(out, Tensor):
        found = f"a {type(out).__name__}"
    elif out.ndim == 2 and len(out) == shape[0] and out.dtype == torch.float32:
        return out.shape[1]
    else:
        found = f"{list(out.shape)}, {str(out.dtype).removeprefix('torch.')}"
    end = "; nn.Flatten() at its end may help" if isinstance(out, Tensor) and out.ndim > 2 else ""
    should = f"should return features [{shape[0]}, F], float32, for observations {list(shape)}"
    raise wrong(module, f"{should}, not {found}{end}")


def wrong(module: nn.Module, should: str) -> WrongValue:
    kind = type(module)
    return WrongValue(KEY, f"{kind.__module__}.{kind.__qualname__}", should)
