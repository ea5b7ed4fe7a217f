"""The memory, disk and open files that a run needs at least, against those that this machine has."""

import json
import math
import shutil
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from dqn.config.parts import make
from dqn.config.recurrence import windows_of
from dqn.errors import WrongValue, printable
from dqn.storage.flatten import leaves, replaced, settings
from dqn.system import machine_memory, most_open_files
from dqn.types import EnvSpec, NetworkSpec

Config = dict[str, Any]

ENVIRONMENT = {"sync": 4_000, "async": 4_000_000}
"""Least bytes of an environment: CartPole in this process, and a worker process."""
RETURN = 40
"""Least bytes of the return of one episode of an evaluation."""
PARAMETER = 16
"""Bytes of a parameter without its optimizer: online and target network, each with a gradient, in float32."""
LARGEST_MADE, MOST_INPUTS = 2048, 2**17
"""Greatest size in `network`, and inputs, for which a network is made; others are counted without numbers."""
MEASURED_ROWS = 4096
"""Rows of the smaller one of two memories that are made to measure a row."""
SHRINKS = 100
"""Times that a checkpoint's frames may be smaller than in memory; those of Atari were 20 to 70 times."""
PROCESS_FILES, SEED_FILES, WORKER_FILES = 64, 2, 3
"""Open files: of any process, of a seed's logs, of an environment in a worker process."""
SIZES = (
    "num_seeds",
    "env.num_envs",
    "env.frame_stack",
    "memory.capacity",
    "memory.reader.burn_in",
    "memory.reader.length",
    "network.",
    "runner.batch_size",
    "runner.eval_episodes",
)
"""Beginnings of the keys that memory depends on."""


def shortages(
    config: Config, spec: EnvSpec, *, learns: bool, folder: Path | None
) -> Iterator[tuple[str, str]]:
    """Yield the keys of a valid configuration that this machine is too small for, and what they should be.

    Args:
        config: the configuration.
        spec: the facts about its environment.
        learns: whether the run learns, or only evaluates.
        folder: the folder of the run, whose disk is looked at; None: no disk is.

    Raises:
        WrongValue: a part of the network does not fit the observations.
    """
    room, memory = machine_memory(), partial(memory_bytes, spec=spec, learns=learns)
    for key, fits in causes(config, memory, room, SIZES):
        needed = f"{min(1e24, memory(config)) / 1e9:,.0f} GB of memory"
        yield key, f"{fits}: the run needs at least {needed}, this machine has {room / 1e9:,.1f}"
    if not learns:
        return
    if folder is not None:
        room, disk = free_disk(folder), partial(disk_bytes, spec=spec, shrinks=SHRINKS)
        for key, fits in causes(config, disk, room, ("num_seeds", "memory.capacity", "network.")):
            yield key, f"{fits}: the checkpoint needs at least {size(disk(config))}, {disk_of(folder, room)}"
    most = most_open_files()
    for key, fits in causes(config, open_files, most, ("num_seeds", "env.num_envs")):
        yield key, f"{fits}: the run needs {open_files(config)} open files, ulimit -Hn allows {most}"


def disk_warning(config: Config, spec: EnvSpec, folder: Path) -> str | None:
    """Return a warning if the disk of a run's folder is too small for frames that do not shrink."""
    room, needed = free_disk(folder), disk_bytes(config, spec, shrinks=1)
    if needed <= room:
        return None
    about = f"memory.capacity={config['memory']['capacity']}: the checkpoint needs up to {size(needed)}"
    return f"{about} if its frames do not shrink, {disk_of(folder, room)}"


def disk_of(folder: Path, room: int) -> str:
    return f"the disk of {printable(str(folder))} has {size(room)} free"


def size(count: float) -> str:
    """Return a number of bytes as text."""
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{min(1e24, count) / 1e9:,.1f} GB"


def free_disk(folder: Path) -> int:
    """Return the free bytes of the disk of a folder, which may be missing, and those of its checkpoint."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    usage, files = shutil.disk_usage(there), (folder / "checkpoint").glob("*")
    if usage.total == 0:  # a file system that does not know its size
        return sys.maxsize
    return usage.free + sum(path.lstat().st_size for path in files)


def causes(
    config: Config, need: Callable[[Config], float], room: float, sizes: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """Yield the keys whose values need too much, the most effective first, and the values that would fit.

    `sizes` are the beginnings of the keys to look at.
    """
    values = {key: value for key, value in settings(config) if key.startswith(sizes) and is_size(value)}
    small = config  # the configuration with 1 instead of every value found so far

    def needs(key: str, limit: int) -> float:
        return need(replaced(small, key, limited(values[key], limit)))

    found: list[str] = []
    while need(small) > room and len(found) < len(values):
        rest = [key for key in values if key not in found]
        found.append(min(rest, key=partial(needs, limit=1)))
        small = replaced(small, found[-1], limited(values[found[-1]], 1))
    for key in found:
        top = min(2**62, max(leaf for _, leaf in leaves(values[key])))
        fits = bisect_right(range(1, top + 1), room, key=partial(needs, key))
        yield key, f"should be at most {fits}" if fits else "should be smaller"


def is_size(value: Any) -> bool:
    """Return whether a value is a whole number or a list of them."""
    numbers = value if isinstance(value, list) else [value]
    return bool(numbers) and all(type(number) is int for number in numbers)


def limited(value: Any, limit: int) -> Any:
    """Return a size with no number above `limit`."""
    return [min(one, limit) for one in value] if isinstance(value, list) else min(value, limit)


def memory_bytes(config: Config, spec: EnvSpec, *, learns: bool) -> float:
    """Return the least bytes of a run: parameters, optimizer, memory, environments, batches, evaluations."""
    env, runner, memory = config["env"], config["runner"], config["memory"]
    spec = spec._replace(obs=spec.obs._replace(stack=env["frame_stack"]))
    parameters, carry_size = network_size(json.dumps(config["network"]), spec)
    if not learns:
        return float(config["num_seeds"] * parameters * 4)
    optimizer, row = json.dumps(config["agent"]["optimizer"]), json.dumps(memory | {"capacity": 0})
    stacked = math.prod(spec.obs.stacked_shape)
    frames, read = spec.obs.stack + 1, 2  # of a sample: its next stack shares its frames
    if windows := windows_of(memory.get("reader")):
        read = windows.burn_in + windows.span + 1
        frames = read * spec.obs.stack
    of_seed = parameters * (PARAMETER + optimizer_bytes(optimizer))
    of_seed += memory.get("capacity", 0) * row_bytes(row, spec, carry_size)
    of_sample = frames * frame_bytes(spec) + read * stacked * 4  # as stored, and as networks read it
    of_seed += runner["batch_size"] * of_sample
    acting = stacked * spec.obs.dtype.itemsize
    evaluating = min(runner["eval_episodes"], runner["eval_num_envs"]) * (ENVIRONMENT["sync"] + acting)
    of_seed += max(env["num_envs"] * (ENVIRONMENT[env["vectorization"]] + acting), evaluating)
    of_seed += runner["eval_episodes"] * RETURN
    return float(config["num_seeds"] * of_seed)


def frame_bytes(spec: EnvSpec) -> int:
    """Return the bytes of one observation as memory stores it."""
    return math.prod(spec.obs.shape) * spec.obs.dtype.itemsize


def disk_bytes(config: Config, spec: EnvSpec, *, shrinks: int) -> float:
    """Return the least bytes of a checkpoint whose frames, if they are integers, shrink that many times."""
    runner, memory = config["runner"], config["memory"]
    optimizer, row = json.dumps(config["agent"]["optimizer"]), json.dumps(memory | {"capacity": 0})
    least_steps = runner["total_steps"] if "total_steps" in runner else runner["total_episodes"]
    capacity = memory.get("capacity", 0)
    parameters, carry_size = network_size(json.dumps(config["network"]), spec)
    least, whole = (row_bytes(row, spec, size) for size in (min(1, carry_size), carry_size))
    frame = min(frame_bytes(spec), least)  # of a custom memory nothing may be known
    compresses = spec.obs.dtype.kind in "iub"
    of_seed = min(capacity, least_steps) * frame / (shrinks if compresses else 1)
    of_seed += capacity * (whole - least)  # all carries are written, also before the memory is full
    of_seed += parameters * (8 + optimizer_bytes(optimizer))
    return float(config["num_seeds"] * of_seed)


def open_files(config: Config) -> int:
    """Return how many files a run has open at the same time."""
    workers = config["env"]["num_envs"] if config["env"]["vectorization"] == "async" else 0
    return int(PROCESS_FILES + config["num_seeds"] * (SEED_FILES + workers * WORKER_FILES))


class NetworkSize(NamedTuple):
    """The numbers of one seed's network."""

    parameters: float
    carry_size: int
    """Numbers that a recurrent network remembers of an episode; 0 if it is not recurrent."""


@cache
def network_size(network: str, spec: EnvSpec) -> NetworkSize:
    """Return the size of a network; the least there is if a custom part cannot be made without its numbers.

    Raises:
        WrongValue: a part of the network does not fit the observations.
    """
    node = json.loads(network)
    largest = max((leaf for _, leaf in leaves(node) if type(leaf) is int), default=0)
    ends = max(math.prod(spec.obs.encoded_shape), spec.num_actions)
    is_small = largest <= LARGEST_MADE and ends <= MOST_INPUTS
    try:  # the first tensor without numbers takes a second of imports
        with torch.device("cpu" if is_small else "meta"):
            made = make(node)(spec=spec, generators=[torch.Generator()])
    except WrongValue:
        raise
    except Exception as error:
        has_core = node.get("core") is not None
        return NetworkSize(math.inf if "overflow" in str(error).lower() else 0.0, int(has_core))
    return NetworkSize(float(sum(leaf.numel() for leaf in made.parameters())), made.carry_size)


@cache
def optimizer_bytes(optimizer: str) -> float:
    """Return the bytes that a new optimizer keeps for each parameter."""
    parameter = torch.nn.Parameter(torch.zeros(64, dtype=torch.float32, device="cpu"))
    try:
        made = make(json.loads(optimizer))([parameter], lr=1.0)
    except Exception:
        return 0.0  # another check reports it
    kept = [leaf for _, leaf in leaves(made.state_dict()) if isinstance(leaf, torch.Tensor)]
    return sum(leaf.nbytes for leaf in kept if leaf.numel() == parameter.numel()) / parameter.numel()


@cache
def row_bytes(memory: str, spec: EnvSpec, carry_size: int) -> float:
    """Return the bytes of a row in memory, measured; 0 for a custom memory that cannot be made here.

    Its share of the stored carries follows from those of one and of two numbers, which fit any machine.
    """
    given: Config = {"gamma": 1.0, "spec": spec, "seeds": [0], "num_envs": 1, "device": torch.device("cpu")}

    def measured(size: int) -> float:
        given["network"] = NetworkSpec(carry_size=size, sees_action=False)
        made = make(json.loads(memory))
        less, more = (array_bytes(made(capacity=n * MEASURED_ROWS, **given)) for n in (1, 2))
        return (more - less) / MEASURED_ROWS

    try:
        least = measured(min(1, carry_size))
        return least + (carry_size - 1) * (measured(2) - least) if carry_size > 1 else least
    except Exception:
        return 0.0


def array_bytes(made: object) -> int:
    """Return the bytes of the arrays and tensors that an object refers to; the memory of views counts once.

    Unlike what tracemalloc counts, this does not depend on other threads.
    """
    sizes: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [made]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            sizes[one.untyped_storage().data_ptr()] = one.untyped_storage().nbytes()
        elif isinstance(one, np.ndarray):
            whole = one.base if isinstance(one.base, np.ndarray) else one
            sizes[whole.ctypes.data] = whole.nbytes
        elif isinstance(one, dict | list | tuple):
            waiting += one.values() if isinstance(one, dict) else one
        else:
            waiting += getattr(one, "__dict__", {}).values()
    return sum(sizes.values())
