"""The memory and the open files that a run needs at least, against those that this machine has."""

import json
import math
import tracemalloc
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from hydra.utils import instantiate

from dqn.process import machine_memory, most_open_files
from dqn.storage.flatten import entries, settings
from dqn.types import EnvSpec

Config = dict[str, Any]

ENVIRONMENT = {"sync": 4_000, "async": 4_000_000}
"""Least bytes of an environment: CartPole in this process, and a worker process."""
RETURN = 40
"""Least bytes of the return of one episode of an evaluation."""
PARAMETER = 16
"""Bytes of a parameter without its optimizer: online and target network, each with a gradient, in float32."""
LARGEST_MADE = 2048
"""Greatest size in `network` for which a network is made; the parameters of others are counted without it."""
MEASURED_ROWS = 4096
"""Rows of the memory that is made to measure a row."""
PROCESS_FILES, SEED_FILES, WORKER_FILES = 64, 2, 4
"""Open files: of any process, of a seed's logs, of an environment in a worker process."""
SIZES = ("num_seeds", "env.num_envs", "memory.capacity", "runner.batch_size", "runner.eval_episodes")


def shortages(config: Config, spec: EnvSpec, *, learns: bool) -> Iterator[tuple[str, str]]:
    """Yield the keys of a valid configuration that this machine is too small for, and what they should be."""
    sizes = [*SIZES, *(f"network.{key}" for key, value in settings(config["network"]) if is_size(value))]
    room = machine_memory()
    for key, fits in causes(config, lambda one: memory_bytes(one, spec, learns=learns), room, sizes):
        need = min(1e24, memory_bytes(config, spec, learns=learns)) / 1e9
        yield (
            key,
            f"{fits}: the run needs at least {need:,.0f} GB of memory, this machine has {room / 1e9:,.1f}",
        )
    most = most_open_files()
    for key, fits in causes(config, open_files, most, SIZES[:2]) if learns else ():
        yield key, f"{fits}: the run needs {open_files(config)} open files, ulimit -Hn allows {most}"


def causes(
    config: Config, need: Callable[[Config], float], room: float, keys: list[str] | tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """Yield the keys whose values need too much, the most effective first, and the values that would fit."""
    values = {key: value for key, _, value in entries(config) if key in keys and is_size(value)}
    small = config
    found: list[str] = []
    while need(small) > room and len(found) < len(values):
        rest = [key for key in values if key not in found]
        found.append(min(rest, key=lambda key: need(limited(small, key, values[key], 1))))
        small = limited(small, found[-1], values[found[-1]], 1)
    for key in found:
        value = values[key]
        top = min(2**62, max(value) if isinstance(value, list) else value)
        needs = lambda limit, key=key, value=value: need(limited(small, key, value, limit))  # noqa: E731
        fits = bisect_right(range(1, top + 1), room, hi=top, key=needs)
        yield key, f"should be at most {fits}" if fits else "should be smaller"


def is_size(value: Any) -> bool:
    """Return whether a value is a whole number or a list of them."""
    numbers = value if isinstance(value, list) else [value]
    return bool(numbers) and all(type(number) is int for number in numbers)


def limited(config: Config, key: str, value: Any, limit: int) -> Config:
    """Return a configuration where a key has `value`, with no number above `limit`."""
    name, dot, rest = key.partition(".")
    if dot:
        return config | {name: limited(config[name], rest, value, limit)}
    return config | {
        name: [min(one, limit) for one in value] if isinstance(value, list) else min(value, limit)
    }


def memory_bytes(config: Config, spec: EnvSpec, *, learns: bool) -> float:
    """Return the least bytes of a run: parameters, optimizer, memory, environments, batches, evaluations."""
    env, runner, memory = config["env"], config["runner"], config["memory"]
    parameters = count_parameters(json.dumps(config["network"]), spec)
    if not learns:
        return float(config["num_seeds"] * parameters * 4)
    optimizer, row = json.dumps(config["agent"]["optimizer"]), json.dumps(memory | {"capacity": 0})
    obs = math.prod(spec.obs.shape) * (spec.obs.dtype.itemsize + 4)  # as stored and as the network reads it
    of_seed = parameters * (PARAMETER + optimizer_bytes(optimizer))
    of_seed += memory.get("capacity", 0) * row_bytes(row, spec)
    of_seed += runner["batch_size"] * 2 * obs
    evaluating = min(runner["eval_episodes"], runner["eval_num_envs"]) * ENVIRONMENT["sync"]
    of_seed += max(env["num_envs"] * ENVIRONMENT[env["vectorization"]], evaluating)
    of_seed += runner["eval_episodes"] * RETURN
    return float(config["num_seeds"] * of_seed)


def open_files(config: Config) -> int:
    """Return how many files a run has open at the same time."""
    workers = config["env"]["num_envs"] if config["env"]["vectorization"] == "async" else 0
    return int(PROCESS_FILES + config["num_seeds"] * (SEED_FILES + workers * WORKER_FILES))


@cache
def count_parameters(network: str, spec: EnvSpec) -> float:
    """Return the parameters of one seed's network; 0 if a custom part cannot be made without its numbers."""
    node = json.loads(network)
    sizes = [value for _, value in settings(node) if is_size(value)]
    largest = max((max(one) if isinstance(one, list) else one for one in sizes), default=0)
    widest = max(math.prod(spec.obs.shape), spec.obs.num_categories, spec.num_actions) * max(1, largest)
    is_large = largest > LARGEST_MADE or widest > LARGEST_MADE**2
    try:  # the first tensor without numbers takes a second of imports
        with torch.device("meta" if is_large else "cpu"):
            made = instantiate(node, _convert_="all")(spec=spec, generators=[torch.Generator()])
    except Exception as error:
        return math.inf if "overflow" in str(error).lower() else 0.0
    return float(sum(leaf.numel() for leaf in made.parameters()))


@cache
def optimizer_bytes(optimizer: str) -> float:
    """Return the bytes that a new optimizer keeps for each parameter."""
    leaf = torch.nn.Parameter(torch.zeros(64, dtype=torch.float32, device="cpu"))
    try:
        made = instantiate(json.loads(optimizer), _convert_="all")([leaf], lr=1.0)
    except Exception:
        return 0.0  # another check reports it
    kept = [one for _, _, one in entries(made.state_dict()) if isinstance(one, torch.Tensor)]
    return sum(one.nbytes for one in kept if one.numel() == leaf.numel()) / leaf.numel()


@cache
def row_bytes(memory: str, spec: EnvSpec) -> float:
    """Return the bytes of a row in memory, measured; 0 for a custom memory that cannot be made here."""
    was_tracing = tracemalloc.is_tracing()
    given: Config = {"gamma": 1.0, "spec": spec, "seeds": [0], "num_envs": 1, "device": torch.device("cpu")}
    made, sizes = [], []
    try:
        make = instantiate(json.loads(memory), _convert_="all")
        tracemalloc.start()
        for rows in (64, MEASURED_ROWS, 2 * MEASURED_ROWS):  # caches are filled by the first one
            made.append(make(capacity=rows, **given))
            sizes.append(tracemalloc.get_traced_memory()[0])
    except Exception:
        return 0.0
    finally:
        if not was_tracing:
            tracemalloc.stop()
    return (sizes[2] - 2 * sizes[1] + sizes[0]) / MEASURED_ROWS
