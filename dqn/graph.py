"""Functions of tensors as compiled graphs, which are kept for later processes."""

import hashlib
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, fx

from dqn.operations import Operations, place

Function = Callable[..., Sequence[Tensor]]
"""Of tensors; what else it uses is always the same, in place."""
Graph = Callable[..., Sequence[Tensor]]


def kept_library(function: Function, tensors: tuple[Tensor, ...]) -> Graph:
    """Return `function` as a C++ library, compiled unless an earlier process did.

    It is found by what torch does in it: that takes no part of the compiler, whose import takes 2 seconds.
    """
    with Operations(tensors) as operations:
        function(*tensors)
    outside = operations.outside
    parts = (operations.fingerprint(), torch.__version__, str(torch.get_num_threads()), processor())
    identity = hashlib.sha256("\n".join(parts).encode() + Path(__file__).read_bytes())
    path = cache_folder() / f"{identity.hexdigest()[:32]}.so"
    if not path.exists():
        compile_library(function, tensors, outside, path)
    library = torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)
    return lambda *given: library.run([*given, *outside])


def compile_library(
    function: Function, tensors: tuple[Tensor, ...], outside: Sequence[Tensor], path: Path
) -> None:
    """Write a library that computes `function` of `tensors` and of what it uses `outside` of them.

    Raises:
        ValueError: what it uses does not stay where it is.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder()))
    from torch._inductor import aot_compile

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
        elif any(user.target is not torch.ops.aten.lift_fresh_copy.default for user in node.users):
            raise ValueError("tensors that are no arguments are other ones than before")
    for name in replaced:  # else the compiler makes them inputs, too
        delattr(traced, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's compiler, of calls of its own
        library = os.path.join(folder, path.name)
        options = {
            "aot_inductor.output_path": library,
            "aot_inductor.precompile_headers": False,  # 140 MB in a temporary folder, and slower at first
            "aot_inductor.compile_wrapper_opt_level": "O0",  # it calls the kernels, which are optimized
        }
        with torch.no_grad():
            aot_compile(traced, (*tensors, *outside), options=options)
        os.replace(library, path)


def compiled_anew(function: Function, tensors: tuple[Tensor, ...]) -> Graph:
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


def traced_graph(function: Function, tensors: tuple[Tensor, ...]) -> fx.GraphModule:
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
