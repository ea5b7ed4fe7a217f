"""Functions of tensors as compiled graphs, which later processes find by a description of the function."""

import hashlib
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from torch import Tensor, fx, nn

from dqn.agent.cuda_graph import record_on, replayed
from dqn.errors import first_line
from dqn.system import compiler_problem

log = logging.getLogger(__name__)

Graph = Callable[..., Sequence[Tensor]]
"""A function of tensors. Other tensors that it uses keep their memory."""

PACKAGE = Path(__file__).parents[1]
SOURCES = [PACKAGE / "value.py", *sorted(PACKAGE.glob("network/*.py")), *sorted(PACKAGE.glob("agent/*.py"))]
"""Files that determine what an update computes and how it is compiled."""

ROOM = 2**23
"""Bytes that compiling needs for its files; a library takes 3 MB."""


def description(value: Any) -> str | None:
    """Return a text that equal values have in every process; None if `value` contains anything custom.

    A value may be a number, a text, bytes, a tensor (described by its layout), a collection, or a class or
    object of this package (described with all attributes). What a custom part computes may depend on anything
    else.
    """
    try:
        return describe(value)
    except TypeError:
        return None


def describe(value: Any) -> str:
    """Return the description of a value, or raise TypeError."""
    if value is None or isinstance(value, bool | int | float | str | bytes | np.dtype | torch.dtype):
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
    """Return the compiled `function`, on the CPU from the cache if it has a description.

    Args:
        function: the function to compile.
        given: example arguments; later ones must have their shapes, strides and types.
        outside: other tensors that it reads or writes, in an order that is the same in every process.
        described: description of the function; None to compile it in every process.

    Raises:
        ValueError, RuntimeError: the function cannot be compiled.
    """
    path = cache_folder() / f"{key(described, given, outside)}.so" if described is not None else None
    on_cpu = given[0].device.type == "cpu"
    if on_cpu and path is not None:
        with suppress(RuntimeError):  # the library is missing or damaged
            return load(path, outside)
    log.info("compiling the update, which takes up to a minute ...")
    if not on_cpu:
        own = [each.clone() for each in given]
        return replayed(new_graph(function, own, outside), own, record_on(own[0].device))
    if path is None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.so"
            return load(path, compile_library(function, given, outside, path=path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):
        with suppress(RuntimeError):  # another process may have compiled it by now
            return load(path, outside)
        compile_library(function, given, outside, path=path, kept=True)
        return load(path, outside)


def load(path: Path, outside: Sequence[Tensor]) -> Graph:
    """Return the function that a library holds, on the tensors `outside`."""
    library = torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)
    return lambda *given: library.run([*given, *outside])


def key(described: str, given: Sequence[Tensor], outside: Sequence[Tensor]) -> str:
    """Return the file name of a library: a hash of function, layouts, sources, torch and machine."""
    conditions = (
        *(described, describe([*given, *outside])),
        *(torch.__version__, torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()),
        *(platform.libc_ver(), processor()),
    )
    sources = [file.read_bytes() for file in SOURCES]
    return hashlib.sha256(b"".join([repr(conditions).encode(), *sources])).hexdigest()[:32]


def compile_library(
    function: Graph, given: Sequence[Tensor], outside: Sequence[Tensor], *, path: Path, kept: bool = False
) -> list[Tensor]:
    """Write a library that computes `function`; return the tensors that it takes after its arguments.

    Those are `outside`, and then any further tensor that the function uses.

    Raises:
        ValueError: the function has operations that need Python, or the library is to be kept and there are
            such further tensors.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder()))
    from torch._inductor import aot_compile, list_options

    traced, used = traced_graph(function, given, outside)
    if kept and len(used) > len(outside):
        raise ValueError("it uses a tensor that is neither a parameter nor a buffer of the network")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of calls within torch's compiler
        library = os.path.join(folder, path.name)
        known = list_options()  # they differ between versions of torch
        options = {
            "aot_inductor.output_path": library,
            "aot_inductor.precompile_headers": False,  # it takes 140 MB and more time than it saves
            "aot_inductor.compile_wrapper_opt_level": "O0",  # the wrapper only calls the optimized kernels
        }
        with torch.no_grad():
            aot_compile(traced, (*given, *used), options={x: options[x] for x in options.keys() & known})
        if any('"nodes"' in file.read_text() for file in Path(folder).glob("*.json")):  # calls of Python
            raise ValueError("some of its operations are not in torch's C++ interface")
        keep(Path(library), path)
    return used


def keep(library: Path, path: Path) -> None:
    """Move a whole library into the cache: from a truncated one, processes that load it would crash."""
    with library.open("rb+") as file:
        os.fsync(file.fileno())  # or a machine that stops soon after could leave a part of it under `path`
    library.replace(path)


def new_graph(function: Graph, given: Sequence[Tensor], outside: Sequence[Tensor]) -> Graph:
    """Return `function` compiled in this process; torch's compiler caches parts of it."""
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
    """Return `function` as a graph of the tensors `given` and of others, and those others.

    They are the tensors `outside`, then any that are neither given nor created within the function.

    Raises:
        ValueError: the function uses other tensors at each call.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    traced, again = make_fx(function)(*given), make_fx(function)(*given)
    found = captured(traced)
    if [address(tensor) for tensor in found.values()] != [address(x) for x in captured(again).values()]:
        raise ValueError(
            "it uses other tensors at each call; tensors that a network keeps must change in place"
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
    for name in found:  # or the compiler would make them inputs, too
        delattr(traced, name)
    for node in traced.graph.nodes:
        node.meta.clear()  # example values; the compiler makes its own
    traced.recompile()
    return traced, list(used.values())


def captured(traced: fx.GraphModule) -> dict[str, Tensor]:
    """Return the tensors of a graph by name, except constants that each call makes of numbers."""
    constant = torch.ops.aten.lift_fresh_copy.default
    return {
        node.target: getattr(traced, node.target)
        for node in traced.graph.find_nodes(op="get_attr")
        if any(user.target is not constant for user in node.users)
    }


def address(tensor: Tensor) -> Hashable:
    """Return memory address and layout of a tensor, which are equal for views of the whole of it."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def processor() -> str:
    """Return a text that differs between processors for which code is compiled differently."""
    names = ("model name", "flags", "Features", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    kind = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    return "\n".join([*kind, *(line for line in lines if line.startswith(names))])


def cache_folder() -> Path:
    """Return the folder of compiled graphs, which all processes of a user share."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "dqn" / "compiled"


def obstacle(device: torch.device) -> str | None:
    """Return why this machine cannot compile for a device, with advice; None if it can."""
    if device.type == "mps":
        return "torch's compiler was not tried on device=mps"
    if device.type == "cpu" and (problem := compiler_problem()):
        return problem
    for variable, find in (("XDG_CACHE_HOME", cache_folder), ("TMPDIR", tempfile.gettempdir)):
        folder: object = "the folder"
        try:
            folder = Path(find())
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(ROOM))
        except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
            size = f"{ROOM >> 20} MB"
            return f"{folder} cannot take {size} ({first_line(error)}); set {variable} to a folder that can"
    return None
