"""What a function of tensors does, operation by operation: by this its compiled graph is found again."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

Place = tuple[int, tuple[int, ...], tuple[int, ...], torch.dtype]


def place(tensor: Tensor) -> Place:
    """Return where a tensor's numbers are and how they are read: views that share both are one."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records what torch does while this is entered, gradients and operations in place included.

    Two functions with the same fingerprint do the same with whatever they are given and find outside.

    Args:
        given: tensors that will be others at the next time.
    """

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.outside: list[Tensor] = []
        """What else was there before, such as parameters, in the order of first use."""
        self._hash = hashlib.sha256()
        self._numbers = itertools.count()
        self._names: dict[Place, str] = {}
        for tensor in given:
            self._name(tensor)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Tell torch not to import its compiler to keep it away from this class, which takes a second."""
        return False

    def fingerprint(self) -> str:
        return self._hash.hexdigest()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.lift_fresh.default:  # of a tensor from numbers: these are constants
            self._tell(str(args[0].tolist()))
            self._name(args[0])
        self._tell(f"{func} {tree_map(self._named, (args, kwargs))}")
        result = func(*args, **kwargs or {})
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._name(each)
        return result

    def _named(self, value: Any) -> Any:
        """Return a tensor's name, any other value as it is."""
        if not isinstance(value, Tensor):
            return value
        if place(value) not in self._names:
            self.outside.append(value.detach())
            self._name(value)
        return self._names[place(value)]

    def _name(self, tensor: Tensor) -> None:
        """Name a tensor as the latest that lies where it does: memory is used again."""
        _, *described = place(tensor)
        name = str(next(self._numbers))
        self._names[place(tensor)] = name
        self._tell(f"{name} {described} {tensor.device}")

    def _tell(self, line: str) -> None:
        self._hash.update(f"{line}\n".encode())
