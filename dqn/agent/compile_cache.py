"""Functions of tensors as compiled graphs, which are kept for later processes."""

import hashlib
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import filelock
import torch
from torch import Tensor, fx

from dqn.agent import operations
from dqn.agent.operations import Operations, place

Graph = Callable[..., Sequence[Tensor]]
"""A function of tensors; what else it uses stays where it is."""


def kept_library(function: Graph, tensors: tuple[Tensor, ...]) -> Graph:
    """Return `function` as a C++ library, compiled unless an earlier process did.

    It is found by what torch does in it, which is to run it: the compiler's import and checks take 3 seconds.

    Args:
        function: what is to be compiled.
        tensors: what it may be given; others must have their shapes, strides and types.

    Raises:
        ValueError: it cannot be kept.
        RuntimeError: it cannot be compiled.
    """
    first, again = recorded(function, tensors), recorded(function, tensors)
    places = [[place(tensor) for tensor in each.outside] for each in (first, again)]
    if first.fingerprint() != again.fingerprint() or places[0] != places[1]:
        raise ValueError(
            "it is another one each time; tensors that a network keeps can be changed in place only"
        )
    path = cache_folder() / f"{key(first.fingerprint())}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):
            if not path.exists():  # by now
                compile_library(function, tensors, first.outside, path=path)
    make = partial(torch._C._aoti.AOTIModelContainerRunnerCpu, str(path), 1)
    try:
        library = make()
    except RuntimeError:  # the file was damaged
        compile_library(function, tensors, first.outside, path=path)
        library = make()
    return lambda *given: library.run([*given, *first.outside])


def recorded(function: Graph, tensors: tuple[Tensor, ...]) -> Operations:
    """Return what `function` does."""
    done = Operations(tensors)
    with done:
        result = function(*tensors)
    done.tell(result)
    return done


def key(fingerprint: str) -> str:
    """Return the name of a library: it is for this system, and for what this code makes of a fingerprint."""
    circumstances = (
        torch.__version__,
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        platform.libc_ver(),
        processor(),
    )
    sources = [Path(file).read_bytes() for file in (__file__, operations.__file__)]
    return hashlib.sha256(b"".join([f"{fingerprint} {circumstances}".encode(), *sources])).hexdigest()[:32]


def compile_library(
    function: Graph, tensors: tuple[Tensor, ...], outside: Sequence[Tensor], *, path: Path
) -> None:
    """Write a library that computes `function` of `tensors` and of what it uses `outside` of them.

    Raises:
        ValueError: it has operations that need Python.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder()))
    from torch._inductor import aot_compile, list_options

    traced = traced_graph(function, tensors)
    graph = traced.graph
    *_, last = graph.find_nodes(op="placeholder")
    inputs = {}
    for i, tensor in enumerate(outside):
        with graph.inserting_after(last):
            last = inputs[place(tensor)] = graph.placeholder(f"outside_{i}")
    replaced = set()
    for node in graph.find_nodes(op="get_attr"):
        there = place(getattr(traced, node.target))
        if there in inputs:
            node.replace_all_uses_with(inputs[there])
            graph.erase_node(node)
            replaced.add(node.target)
    for name in replaced:  # else the compiler makes them inputs, too
        delattr(traced, name)
    traced.recompile()
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
            aot_compile(traced, (*tensors, *outside), options={x: options[x] for x in options.keys() & known})
        if any('"nodes"' in file.read_text() for file in Path(folder).glob("*.json")):  # how to call them
            raise ValueError("some of its operations are none of torch's C++ interface")
        os.replace(library, path)


def compiled_anew(function: Graph, tensors: tuple[Tensor, ...]) -> Graph:
    """Return `function` compiled, parts of which may be found in the compiler's own cache."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder()))
    from torch._guards import TracingContext, tracing
    from torch._inductor import compile as compile_graph
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    traced = traced_graph(function, tensors)
    context = TracingContext(FakeTensorMode(shape_env=ShapeEnv()))  # without it nothing is cached
    with torch.no_grad(), tracing(context):
        graph: Graph = compile_graph(traced, list(tensors))
    return graph


def traced_graph(function: Graph, tensors: tuple[Tensor, ...]) -> fx.GraphModule:
    """Return what `function` does with the tensors, operation by operation."""
    from torch.fx.experimental.proxy_tensor import make_fx

    traced: fx.GraphModule = make_fx(function)(*tensors)
    for node in traced.graph.nodes:
        node.meta.clear()  # examples of values, of which the compiler wants its own
    return traced


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
