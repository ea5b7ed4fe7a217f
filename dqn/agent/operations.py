"""What a function of tensors does, operation by operation: by this its compiled graph is found again."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

Place = tuple[int, tuple[int, ...], tuple[int, ...], torch.dtype, bool, bool]


def place(tensor: Tensor) -> Place:
    """Return where a tensor's numbers are and how they are read: views that share all of it are one."""
    how = tensor.dtype, tensor.is_conj(), tensor.is_neg()
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), *how


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records what torch does while this is entered, gradients and operations in place included.

    Functions with the same fingerprint do and return the same with whatever they are given and find outside.
    Tensors that they make of numbers or arrays are constants.

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
        self._memories: dict[int, int] = {}
        """Of what is given or outside, numbered: one operation may write what another reads."""
        for tensor in given:
            self._meet(tensor)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Tell torch not to import its compiler to keep it away from this class, which takes a second."""
        return False

    def fingerprint(self) -> str:
        return self._hash.hexdigest()

    def tell(self, value: Any) -> None:
        """Add what is made of tensors, by their names, to the fingerprint.

        Raises:
            ValueError: random numbers are drawn here.
        """
        self._add(str(tree_map(self._named, value)))

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.lift_fresh.default:
            self._add(str(args[0].tolist()))
            self._name(args[0])
        self.tell((str(func), args, kwargs))
        result = func(*args, **kwargs or {})
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._name(each)
        return result

    def _named(self, value: Any) -> Any:
        """Return a tensor's name, any other value as it is."""
        if isinstance(value, torch.Generator):
            raise ValueError("a generator of torch's is used; random numbers should come from the draws")
        if not isinstance(value, Tensor):
            return value
        if place(value) not in self._names:
            self.outside.append(value.detach())
            self._meet(value)
        return self._names[place(value)]

    def _meet(self, tensor: Tensor) -> None:
        memory = self._memories.setdefault(tensor.untyped_storage().data_ptr(), len(self._memories))
        self._add(f"memory {memory} from {tensor.storage_offset()}")
        self._name(tensor)

    def _name(self, tensor: Tensor) -> None:
        """Name a tensor as the latest that lies where it does: memory is used again."""
        _, *how = place(tensor)
        name = str(next(self._numbers))
        self._names[place(tensor)] = name
        self._add(f"{name} {how} {tensor.device}")

    def _add(self, line: str) -> None:
        self._hash.update(f"{line}\n".encode())
