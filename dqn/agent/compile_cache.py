"""Functions of tensors as compiled graphs; later processes find them by what describes the function."""

import hashlib
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from torch import Tensor, fx, nn

Graph = Callable[..., Sequence[Tensor]]
"""A function of tensors; other tensors that it uses stay where they are."""

Address = tuple[int, tuple[int, ...], tuple[int, ...], torch.dtype]

PACKAGE = Path(__file__).parents[1]
SOURCES = [PACKAGE / "value.py", *sorted(PACKAGE.glob("network/*.py")), *sorted(PACKAGE.glob("agent/*.py"))]
"""Files on which it depends what an update computes, and how it is compiled."""


def description(value: Any) -> str | None:
    """Return a text that is the same in every process for equal objects of this package.

    Args:
        value: numbers, text, tensors (by shape), collections, and classes and objects of this package, the
            latter with all attributes.

    Returns:
        None where something is of another kind, such as a part of the user's own: what it computes may depend
        on anything.
    """
    try:
        return describe(value)
    except TypeError:
        return None


def describe(value: Any) -> str:
    """Return the description of a value.

    Raises:
        TypeError: it has none.
    """
    if value is None or isinstance(value, bool | int | float | str | np.dtype | torch.dtype):
        return repr(value)
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.stride()} {value.dtype} {value.device}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{describe(key)}: {describe(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple | set):
        return f"[{', '.join(map(describe, sorted(value) if isinstance(value, set) else value))}]"
    if isinstance(value, type):
        if not value.__module__.startswith(("dqn.", "torch.nn.modules.")):
            raise TypeError(value)
        return f"{value.__module__}.{value.__qualname__}"
    kind, attributes = describe(type(value)), dict(vars(value))
    if isinstance(value, nn.Module):  # `flatten` makes its parts plain attributes, too
        for name in (*value._parameters, *value._buffers, *value._modules):
            attributes.pop(name, None)
    return kind + describe(attributes)


def compiled_graph(
    function: Graph, given: Sequence[Tensor], outside: Sequence[Tensor], described: str | None
) -> Graph:
    """Return `function` compiled, unless an earlier process compiled what has the same description.

    Args:
        function: what is to be compiled.
        given: what it may be given; others must have their shapes, strides and types.
        outside: other tensors that it uses or writes, in an order that is the same in every process.
        described: description of the function, None to compile in every process.

    Raises:
        ValueError: it cannot be compiled.
        RuntimeError: it cannot be compiled.
    """
    if given[0].device.type != "cpu":
        return new_graph(function, given, outside)
    if described is None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.so"
            return loaded(path, compile_library(function, given, outside, path=path))
    path = cache_folder() / f"{key(described, given, outside)}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):
            if not path.exists():  # by now
                compile_library(function, given, outside, path=path, kept=True)
    try:
        return loaded(path, outside)
    except RuntimeError:  # the file was damaged
        compile_library(function, given, outside, path=path, kept=True)
        return loaded(path, outside)


def loaded(path: Path, outside: Sequence[Tensor]) -> Graph:
    """Return the function in a library, which also uses the tensors `outside`."""
    library = torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)
    return lambda *given: library.run([*given, *outside])


def key(described: str, given: Sequence[Tensor], outside: Sequence[Tensor]) -> str:
    """Return the name of a library: it is for this system, this code and these shapes."""
    circumstances = (
        described,
        describe([*given, *outside]),
        torch.__version__,
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        platform.libc_ver(),
        processor(),
    )
    sources = [file.read_bytes() for file in SOURCES]
    return hashlib.sha256(b"".join([repr(circumstances).encode(), *sources])).hexdigest()[:32]


def compile_library(
    function: Graph, given: Sequence[Tensor], outside: Sequence[Tensor], *, path: Path, kept: bool = False
) -> list[Tensor]:
    """Write a library that computes `function` of the tensors `given` and `outside`; return the latter.

    Raises:
        ValueError: it has operations that need Python, or it uses a tensor that is not `outside` and is kept;
            if it is not kept, the tensor becomes one of those.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder()))
    from torch._inductor import aot_compile, list_options

    traced, used = traced_graph(function, given, outside)
    if kept and len(used) > len(outside):
        raise ValueError("it uses a tensor that is neither a parameter nor a buffer of the network")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's compiler, of calls of its own
        library = os.path.join(folder, path.name)
        known = list_options()  # other versions have others
        options = {
            "aot_inductor.output_path": library,
            "aot_inductor.precompile_headers": False,  # 140 MB in a temporary folder, and slower at first
            "aot_inductor.compile_wrapper_opt_level": "O0",  # it calls the kernels, which are optimized
        }
        with torch.no_grad():
            aot_compile(traced, (*given, *used), options={x: options[x] for x in options.keys() & known})
        if any('"nodes"' in file.read_text() for file in Path(folder).glob("*.json")):  # how to call them
            raise ValueError("some of its operations are none of torch's C++ interface")
        os.replace(library, path)
    return used


def new_graph(function: Graph, given: Sequence[Tensor], outside: Sequence[Tensor]) -> Graph:
    """Return `function` compiled, parts of which may be found in the compiler's own cache."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder()))
    from torch._guards import TracingContext, tracing
    from torch._inductor import compile as compile_graph
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    traced, used = traced_graph(function, given, outside)
    context = TracingContext(FakeTensorMode(shape_env=ShapeEnv()))  # without it nothing is cached
    with torch.no_grad(), tracing(context):
        graph: Graph = compile_graph(traced, [*given, *used])
    return lambda *given: graph(*given, *used)


def traced_graph(
    function: Graph, given: Sequence[Tensor], outside: Sequence[Tensor]
) -> tuple[fx.GraphModule, list[Tensor]]:
    """Return what `function` does, as a graph of the tensors `given` and of others, and the others.

    Those are the tensors `outside` and then all that are neither given nor made within the function.

    Raises:
        ValueError: these are not the same tensors each time.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    traced, again = make_fx(function)(*given), make_fx(function)(*given)
    found = captured(traced)
    if [address(tensor) for tensor in found.values()] != [address(x) for x in captured(again).values()]:
        raise ValueError(
            "it is another one each time; tensors that a network keeps can be changed in place only"
        )
    used = {address(tensor): tensor for tensor in (*outside, *found.values())}
    *_, last = traced.graph.find_nodes(op="placeholder")
    inputs = {}
    for i, there in enumerate(used):
        with traced.graph.inserting_after(last):
            last = inputs[there] = traced.graph.placeholder(f"outside_{i}")
    for node in traced.graph.find_nodes(op="get_attr"):
        if node.target in found:
            node.replace_all_uses_with(inputs[address(found[node.target])])
            traced.graph.erase_node(node)
    for name in found:  # else the compiler makes them inputs, too
        delattr(traced, name)
    for node in traced.graph.nodes:
        node.meta.clear()  # examples of values, of which the compiler wants its own
    traced.recompile()
    return traced, list(used.values())


def captured(traced: fx.GraphModule) -> dict[str, Tensor]:
    """Return the tensors of a graph by name, but for constants that are made of numbers in each call."""
    constant = torch.ops.aten.lift_fresh_copy.default
    return {
        node.target: getattr(traced, node.target)
        for node in traced.graph.find_nodes(op="get_attr")
        if any(user.target is not constant for user in node.users)
    }


def address(tensor: Tensor) -> Address:
    """Return where a tensor's numbers are and how they are read: views that share all of it are one."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def processor() -> str:
    """Return what tells processors apart for which code is compiled differently."""
    names = ("model name", "flags", "Features", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    told = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    return "\n".join([*told, *(line for line in lines if line.startswith(names))])


def cache_folder() -> Path:
    """Return where compiled graphs are kept, so that the next process finds them."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "dqn" / "compiled"
